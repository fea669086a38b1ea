"""Tables of docs/scenarios.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables_files import read, table


def _pm(value: dict[str, float], sign: str = "") -> str:
    return f"{value['mean']:{sign}.1f} ± {value['ci95']:.1f}"


def incremental(name: str) -> str:
    """One row for each learner of an incremental comparison."""
    found = read(name)
    rows = []
    for row, scores in found["methods"].items():
        gaps, same = scores["paired_difference"], row == found["reference"]
        spread = scores.get("orders", {}).get("average_spread")
        rows.append(
            [row, _pm(scores["average"]), _pm(scores["accuracy_after_session"][0]), _pm(scores["last"]),
             _pm(scores["forgetting"]), _pm(scores["harmonic_mean"]),
             *("–" if same else _pm(gaps[key], "+") for key in ("average", "forgetting")),
             "–" if spread is None else _pm(spread),
             f"{scores['session_ms']:.0f}", f"{scores['bytes_per_class']:,}"]
        )  # fmt: skip
    headers = ["Learner", "average", "base", "last", "forgetting", "old and new", f"average to {found['reference']}"]
    return table([*headers, "forgetting to it", "between orders", "ms a session", "bytes a class"], rows)


def domains(name: str) -> str:
    """One row for each method of a comparison on domains."""
    found = read(name)
    rows = []
    for row, scores in found["methods"].items():
        difference = scores["paired_difference"]
        same = row == found["reference"]
        rows.append(
            [_domain_row(row, found), _pm(scores["average"]), _pm(scores["worst"]),
             "–" if same else _pm(difference["average"], "+"),
             "–" if same else _pm(difference["worst"], "+"), f"{scores['nll']:.2f}", f"{scores['ece']:.1f}"]
        )  # fmt: skip
    reference = found["reference"]
    headers = ["Method", "average", "worst domain", f"average to `{reference}`", f"worst to `{reference}`"]
    return table([*headers, "NLL", "ECE, %"], rows)


def domain_groups(names: dict[str, str]) -> str:
    """Networks that were trained anew for each group of held-out domains; ``names``: result -> name in the table.

    A column for each group holds its worst domain; averages are over groups, which are independent.
    """
    found = [read(name) for name in names]
    rows = []
    for row in found[0]["methods"]:
        scores = [each["methods"][row] for each in found]
        same = row == found[0]["reference"]
        gaps = [each["paired_difference"] for each in scores]
        told = ["" if same else f" ({_pm(gap['worst'], '+')})" for gap in gaps]
        rows.append(
            [_domain_row(row, found[0]), _pm(_mean([each["average"] for each in scores])),
             "–" if same else _pm(_mean([gap["average"] for gap in gaps]), "+"),
             *(_pm(each["worst"]) + gap for each, gap in zip(scores, told, strict=True)),
             f"{sum(each['ece'] for each in scores) / len(scores):.1f}"]
        )  # fmt: skip
    return table(["Method", "average", f"average to `{found[0]['reference']}`", *names.values(), "ECE, %"], rows)


def _mean(values: list[dict[str, float]]) -> dict[str, float]:
    """Mean of independent means, with its interval."""
    count = len(values)
    return {
        "mean": sum(value["mean"] for value in values) / count,
        "ci95": sum(value["ci95"] ** 2 for value in values) ** 0.5 / count,
    }


def _domain_row(row: str, found: dict[str, Any]) -> str:
    """A method's name; tent before its steps is arm-bn."""
    before = row == "tent" and any(other.startswith("tent,") for other in found["methods"])
    return "`arm-bn` (`tent`, 0 steps)" if before else f"`{row}`"


def checks(names: dict[str, str]) -> str:
    """How the check from unlabelled images came out; ``names``: result -> name in the table."""
    lines = []
    for name, label in names.items():
        check = read(name)["check"]
        always = {row: gain for row, gain in check["gain_always"].items() if gain["mean"]}
        best = max(always, key=lambda row: always[row]["mean"])
        worst = min(always, key=lambda row: always[row]["mean"])
        right = check["domains_right"]
        lines.append(
            [label, f"{right['right']} of {right['of']}", _pm(check["episodes_right"]),
             _pm(check["gain_followed"], "+"), *(f"{_pm(always[row], '+')} (`{row}`)" for row in (best, worst))]
        )  # fmt: skip
    headers = ["Data", "pairs foretold", "episodes foretold, %", "gain, advice followed", "always the best row"]
    return table([*headers, "always the worst row"], lines)


def sequence() -> str:
    """The task sequence, with its regulariser and without."""
    columns = ("task_known", "domain", "class_incremental", "first_task")
    found = read("task-sequence-digits")["rows"]
    rows = [[f"β = {row.removeprefix('beta=')}", *(_pm(scores[c]) for c in columns)] for row, scores in found.items()]
    return table(["Regulariser", "task told", "task not told", "class among all", "first task"], rows)


def multitask(name: str, rows: dict[str, str], cells: dict[str, str]) -> str:
    """One row for each checkpoint or team; ``rows`` and ``cells``: name in the file -> name in the table."""
    found = read(name)
    reference, lines = found["reference"], []
    for row, label in rows.items():
        scores = found["methods"][row]
        shown = [scores["cells"].get(cell) for cell in cells]
        values = []
        for cell, one in zip(cells, shown, strict=True):
            if one is None:
                values.append("–")
                continue
            metric = next(m for m in ("accuracy", "miou", "ap50") if m in one)
            gap = scores["paired_difference"].get(cell)
            told = "" if row == reference or gap is None else f" ({_pm(gap, '+')})"
            values.append(_pm({"mean": one[metric], "ci95": one[f"{metric}_ci95"]}) + told)
        same = row == reference or scores["delta_mtl"] is None
        gains = ["–"] * 2 if same else [_pm(scores[key], "+") for key in ("mean_difference", "delta_mtl")]
        lines.append([label, *values, *gains, f"{scores['parameters']:,}", f"{scores['training_steps']:,}"])
    return table(["Row", *cells.values(), "mean gain", "ΔMTL, %", "parameters", "meta-steps"], lines)


def pareto() -> str:
    """Hypervolume of one hypernetwork and of single networks."""
    found, lines = read("pareto-two-digits"), []
    for row, scores in found["rows"].items():
        volume, gain, even = (scores[key] for key in ("hypervolume", "difference", "accuracy_at_even_weights"))
        same = row == found["difference_to"]
        lines.append(
            [row, str(scores["preferences"]), f"{volume['mean']:.3f} ± {volume['ci95']:.3f}",
             "–" if same else f"{gain['mean']:+.3f} ± {gain['ci95']:.3f}", _pm(even), f"{scores['parameters']:,}",
             f"{scores['training_steps']:,}"]
        )  # fmt: skip
    headers = ["Row", "preferences", "hypervolume", "to single networks", "accuracy at (½, ½), %", "parameters"]
    return table([*headers, "steps"], lines)


#: Group of held-out vendors -> heading of its column.
VENDORS = {
    "domains-emoji-1": "OpenMoji, EmojiOne 1, high contrast",
    "domains-emoji-2": "EmojiOne, Noto, Fluent",
}

TABLES: dict[str, Callable[[], str]] = {
    "incremental_omniglot": lambda: incremental("incremental-omniglot"),
    "domains_styles": lambda: domains("domains-glyph-styles"),
    "domains_emoji": lambda: domain_groups(VENDORS),
    "domains_rotated": lambda: domains("domains-rotated-digits"),
    "domains_pacs": lambda: domains("domains-pacs"),
    "domain_check": lambda: checks(
        {
            "domains-glyph-styles": "glyph styles",
            **{name: f"emoji: {label}" for name, label in VENDORS.items()},
            "domains-rotated-digits": "rotated digits",
            "domains-pacs": "PACS, sketch",
        }
    ),
    "sequence": sequence,
    "multitask": lambda: multitask(
        "multitask-visual",
        {
            "shared": "one for all three",
            "classification+segmentation+detection": "one for each, as large",
            "small-classification+small-segmentation+small-detection": "one for each, as large together",
        },
        {
            "glyphs?size=32&color=rgb: classification": "classification, accuracy",
            "scenes?size=32: segmentation": "segmentation, mIoU",
            "scenes?size=32: detection": "detection, AP50",
        },
    ),
    "pareto": pareto,
}
