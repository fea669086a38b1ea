"""Writes the tables of README.md and of the pages in docs/ from the committed result files and the registry of methods.

``python tools/tables.py`` rewrites what stands between ``<!-- table: NAME -->`` and ``<!-- end -->``;
``--check`` only says whether anything would change, which is how the tests see that no number is typed in by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import tables_commands
import tables_detection
import tables_families
import tables_methods
import tables_photos
import tables_scenarios
import tables_segmentation
import tables_speed
import tables_trust
from tables_files import count, read, table

from genmeta.methods import list_methods

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md")))


def methods() -> str:
    """Method · Generates · Adapts · Paper · Omniglot · Photos · File."""
    photos, others = read("families-photos-5w5s"), read("photos-5w")["scores"]["5-shot"]
    rows = []
    for method in list_methods():
        paper = f"[{method.paper}]({method.url})" if method.url else method.paper
        file = f"[{Path(method.file).name}](src/{method.file})"
        found = tables_methods.entry(method.name, "20w1s")
        characters = "–" if found is None else tables_methods.score(found[0], "1")
        characters = f"*{characters}*" if found is not None and found[1] != "omniglot" else characters
        seen = "–"
        if method.name in photos["methods"]:
            seen = tables_methods.score(tables_families.averaged(photos, method.name), "1")
        elif method.name in PHOTO_ROW_OF:
            of = others[PHOTO_ROW_OF[method.name]]["all"]["accuracy"]
            seen = f"*{of['mean']:.1f} ± {of['ci95']:.1f}*"
        rows.append([f"`{method.name}`", method.generates, method.adapts, paper, characters, seen, file])
    return table(["Method", "Generates", "Adapts", "Paper", "Omniglot 20w1s", "Photos 5w5s", "File"], rows)


#: Methods whose row is in the table of other photos.
PHOTO_ROW_OF = {"film-transfer": "generated, 4 steps"}


def accuracy(scores: dict[str, float]) -> str:
    """``97.8 ± 0.3``."""
    return f"{scores['accuracy']:.1f} ± {scores['accuracy_ci95']:.1f}"


#: Rows of the main tables.
ROWS = ("scratch", "protonet", "maml", "meta-sgd", "hypernet", "meta-sgd-hn")


def omniglot() -> str:
    """Accuracy of every method after 0, 1 and 5 steps, 5-way and 20-way 1-shot, and what its training took."""
    return _accuracies(("omniglot-5w1s", "omniglot-20w1s"))


def five_shot() -> str:
    """The same, 5-way 5-shot."""
    return _accuracies(("omniglot-5w5s",))


def _accuracies(names: tuple[str, ...]) -> str:
    found = {name.removeprefix("omniglot-"): read(name) for name in names}
    steps = ("0", "1", "5")
    rows = []
    for name in ROWS:
        scores = [accuracy(result["methods"][name]["scores"][step]) for result in found.values() for step in steps]
        minutes = next(iter(found.values()))["methods"][name]["training_seconds"] / 60
        rows.append([f"`{name}`", *scores, f"{minutes:.0f}"])
    headers = ["Method", *[f"{title}, {count(step)}" for title in found for step in steps], "training, min"]
    return table(headers, rows)


def ablation() -> str:
    """{constant, generated} start × {constant, generated} step sizes, after 0, 1 and 5 steps."""
    rows = []
    for setting, name in (("5-way 1-shot", "omniglot-ablation-5w1s"), ("20-way 1-shot", "omniglot-ablation-20w1s")):
        found = read(name)
        for start, sizes, method in (
            ("constant", "constant", "meta-sgd-film"),
            ("constant", "generated", "meta-sgd-hn-constant-start"),
            ("generated", "constant", "hypernet"),
            ("generated", "generated", "meta-sgd-hn"),
        ):
            scores = found["methods"][method]["scores"]
            rows.append([setting, start, sizes, *[accuracy(scores[step]) for step in ("0", "1", "5")]])
    return table(["Task", "θ₀", "α", "0 steps", "1 step", "5 steps"], rows)


def calibration() -> str:
    """Likelihood, calibration and time on 20-way 1-shot tasks."""
    found = read("omniglot-20w1s")
    rows = []
    for name in ROWS:
        entry = found["methods"][name]
        scores = entry["scores"]["5"]
        gain = entry["paired_difference"]["5"]
        rows.append([
            f"`{name}`", f"{scores['nll']:.3f}", f"{scores['ece']:.1f}", f"{scores['adaptation_ms']:.0f}",
            f"{entry['parameters']:,}", f"{gain['mean']:+.2f} ± {gain['ci95']:.2f}",
        ])  # fmt: skip
    reference = found["reference"]["method"]
    headers = ["Method", "NLL", "ECE, %", "ms per task", "parameters", f"paired difference to `{reference}`"]
    return table(headers, rows)


#: Shipped checkpoints whose `results/NAME` (scores through the estimator) and `results/NAME-speed` there are.
SCORED, TIMED = ("characters",), ("photos", "characters")


def own() -> str:
    """Accuracy and calibration of FewShotClassifier with every shipped checkpoint."""
    rows = []
    for name in SCORED:
        for row in read(name)["rows"]:
            scores = [row["accuracy"][who] for who in ("model", "regression on features", "regression on pixels")]
            off = row["leave_one_out_minus_accuracy"]
            rows.append([
                f"`{name}`", row["data"], f"{row['ways']}-way {row['shots']}-shot",
                *[f"{score['mean']:.1f} ± {score['ci95']:.1f}" for score in scores],
                f"{row['ece']:.1f}", f"{off['mean']:+.1f}" if off else "", str(row["episodes"]),
            ])  # fmt: skip
    headers = ["Checkpoint", "Data", "Task", "Accuracy", "Regression on features", "Regression on pixels", "ECE"]
    return table([*headers, "leave-one-out", "Episodes"], rows)


def ownspeed() -> str:
    """Seconds and memory of the commands."""
    rows = []
    for name in TIMED:
        for row in read(f"{name}-speed")["rows"]:
            if "seconds" in row:
                cells = (row["seconds"], row["processor_seconds"], row["peak_memory_mib_at_most"])
                images = sum(row["classes"].values()) if "classes" in row else row["images"]
                rows.append([f"`{name}`", row["what"], str(images), *map(str, cells)])
            else:
                per = (
                    f"{row['images_per_second']} images/s",
                    f"{row['images_per_processor_second']} per processor second",
                )
                rows.append([f"`{name}`", row["what"], str(row["images"]), *per, ""])
    return table(["Checkpoint", "What", "Images", "Seconds", "Processor seconds", "Peak memory, MiB"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "methods": methods,
    "omniglot": omniglot,
    "omniglot5": five_shot,
    "ablation": ablation,
    "calibration": calibration,
    "own": own,
    "ownspeed": ownspeed,
    **tables_commands.TABLES,
    **tables_detection.TABLES,
    **tables_photos.TABLES,
    **tables_scenarios.TABLES,
    **tables_segmentation.TABLES,
    **tables_speed.TABLES,
    **tables_trust.TABLES,
    **tables_methods.TABLES,
    **tables_families.TABLES,
}


def filled(text: str) -> str:
    """The page with every table written anew."""
    pattern = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[3]}", text)


def main() -> int:
    """Rewrites the pages, or with ``--check`` says which are out of date."""
    stale = []
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if before != after:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(after, encoding="utf-8")
    if stale:
        print(("out of date: " if "--check" in sys.argv else "rewritten: ") + ", ".join(stale))
    return int("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
