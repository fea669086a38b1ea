"""Tables of docs/families.md: the generative families on one budget, their draws, and what longer trainings gain."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tables_files import read, table

RESULTS = Path(__file__).parents[1] / "results"
OMNIGLOT = ("families-5w1s", "families-5w5s", "families-20w1s")
BODY = ("families-body-5w1s", "families-body-5w5s", "families-body-20w1s")
PUBLISHED = ("families-vinyals-5w1s", "families-vinyals-20w1s")
PHOTOS = ("families-photos-5w1s", "families-photos-5w5s", "families-photos-10w1s")
STEPS = ("0", "1", "5")


def groups(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Row -> its entries, one for each seed of training."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for name, entry in found["methods"].items():
        grouped.setdefault(re.sub(r"-seed\d+$", "", name), []).append(entry)
    return grouped


def averaged(found: dict[str, Any], row: str) -> dict[str, Any]:
    """The entry of a row with its scores averaged over seeds; intervals are over episodes."""
    entries = groups(found)[row]
    over = found.get("over_seeds", {}).get(row, {"scores": {}})["scores"]
    scores = {}
    for step, first in entries[0]["scores"].items():
        scores[step] = {**_mean([entry["scores"][step] for entry in entries]), **over.get(step, {})}
        if first.get("draws") is not None:
            scores[step]["draws"] = _mean([entry["scores"][step]["draws"] for entry in entries])
        if first.get("calibrated") is not None:
            scores[step]["calibrated"] = _mean([entry["scores"][step]["calibrated"] for entry in entries])
    return {**entries[0], "scores": scores}


def _mean(each: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [key for key, value in each[0].items() if isinstance(value, float | int)]
    return {**each[0], **{key: statistics.fmean([it[key] for it in each]) for key in numbers}}


def interval(scores: dict[str, Any], what: str = "accuracy", digits: int = 1) -> str:
    """``97.8 ± 0.3``."""
    return f"{scores[what]:.{digits}f} ± {scores[f'{what}_ci95']:.{digits}f}"


def accuracies(names: tuple[str, ...], after: str = "0") -> str:
    """Accuracy after 0, 1 and 5 steps, the paired difference to ``protonet``, and what training and use take."""
    files = {name.rpartition("-")[2]: read(name) for name in names}
    title, last = list(files.items())[-1]
    several, rows = bool(last["over_seeds"]), []
    for name, entries in groups(last).items():
        gap = entries[0]["minus_protonet"][after]
        spent = [entry["training_cpu_seconds"] or 0 for entry in entries]
        seeds = [entry["scores"]["0"]["accuracy"] for entry in entries]
        rows.append([
            f"`{name}`",
            *[interval(averaged(found, name)["scores"][step]) for found in files.values() for step in STEPS],
            "–" if name == "protonet" else f"{gap['accuracy']:+.2f} ± {gap['accuracy_ci95']:.2f}",
            *([f"{max(seeds) - min(seeds):.1f}" if len(seeds) > 1 else "one seed"] if several else []),
            str(entries[0]["training_steps"]),
            f"{statistics.fmean(spent):.0f}",
            f"{averaged(last, name)['scores']['0']['adaptation_processor_ms']:.0f}",
            f"{entries[0]['generator_parameters']:,}",
        ])  # fmt: skip
    columns = [f"{column}, {step} step{'s' * (step != '1')}" for column in files for step in STEPS]
    gaps = [f"{title}, {after} step{'s' * (after != '1')}, minus `protonet`", *(["between seeds"] if several else [])]
    costs = ["meta-steps", "processor s", "processor ms to a start", "parameters beyond the learner"]
    return table(["Row", *columns, *gaps, *costs], rows)


def draws(name: str) -> str:
    """Likelihood, calibration and what averaging draws wins, as generated."""
    found = read(name)
    rows = []
    for row, entries in groups(found).items():
        scores, gap = averaged(found, row)["scores"]["0"], entries[0]["minus_protonet"]["0"]
        single, cells = scores["draws"], ["–"] * 5
        if single is not None:
            each = [entry["scores"]["0"]["draws"] for entry in entries]
            won = [f"{it['nll_gain']:+.4f} ± {it['nll_gain_ci95']:.4f}" for it in each]
            cells = [
                f"{single['accuracy']:.1f}", f"{single['nll']:.3f}", "; ".join(won),
                f"{single['disagreement']:.1f}", f"{single['diversity_within']:.3f}",
            ]  # fmt: skip
        rows.append([
            f"`{row}`", interval(scores, "nll", 3),
            "–" if row == "protonet" else f"{gap['nll']:+.3f} ± {gap['nll_ci95']:.3f}",
            f"{scores['ece']:.1f}", f"{scores['calibrated']['nll']:.3f}", f"{scores['calibrated']['ece']:.1f}", *cells,
        ])  # fmt: skip
    headers = ["Row", "NLL", "minus `protonet`", "ECE, %", "NLL, scaled", "ECE, scaled", "one draw, accuracy"]
    won = "NLL won by averaging" + (", each seed" if found["over_seeds"] else "")
    return table([*headers, "one draw, NLL", won, "draws disagree, %", "share of noise"], rows)


def curves() -> str:
    """Validation accuracy after each third of the trainings, in percent; one column of cells for each kind of data."""
    found = {title: groups(read(names[-1])) for title, names in (("characters", OMNIGLOT), ("photos", PHOTOS))}
    rows = []
    for name in next(iter(found.values())):
        cells = []
        for rows_of in found.values():
            points = [entry["validation"] for entry in rows_of.get(name, [])]
            each = [statistics.fmean(it["score"] for it in at) for at in zip(*points, strict=True)]
            cells.append(", ".join(f"{100 * score:.1f}" for score in each) or "–")
        rows.append([f"`{name}`", *cells])
    return table(["Row", *found], rows)


TABLES: dict[str, Callable[[], str]] = {
    "families": lambda: accuracies(OMNIGLOT),
    "family_draws": lambda: draws(OMNIGLOT[-1]),
    "family_body": lambda: accuracies(BODY, after="1"),
    "family_published": lambda: accuracies(PUBLISHED),
    "family_published_draws": lambda: draws(PUBLISHED[-1]),
    "family_photos": lambda: accuracies(PHOTOS),
    "family_photo_draws": lambda: draws(PHOTOS[0]),
    "family_curves": curves,
}
