"""Tables of docs/scenarios.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables_files import read, table, there


def _pm(value: dict[str, float], sign: str = "") -> str:
    return f"{value['mean']:{sign}.1f} ± {value['ci95']:.1f}"


def incremental(name: str) -> str:
    """One row for each learner of an incremental comparison."""
    found = read(name)
    rows = []
    for row, scores in found["methods"].items():
        gaps, same = scores["paired_difference"], row == found["reference"]
        rows.append(
            [row, _pm(scores["average"]), _pm(scores["accuracy_after_session"][0]), _pm(scores["last"]),
             _pm(scores["forgetting"]), _pm(scores["harmonic_mean"]),
             *("–" if same else _pm(gaps[key], "+") for key in ("average", "forgetting")),
             f"{scores['session_ms']:.0f}", f"{scores['bytes_per_class']:,}"]
        )  # fmt: skip
    headers = ["Learner", "average", "base", "last", "forgetting", "old and new", f"average to {found['reference']}"]
    return table([*headers, "forgetting to it", "ms a session", "bytes a class"], rows)


def corrections(names: dict[str, str]) -> str:
    """What a generator's corrections are worth where it was trained on data of another kind; ``names`` as elsewhere."""
    rows = {"hypernet": "corrected", "hypernet's metric alone": "metric alone",
            "class means on hypernet's features": "class means"}  # fmt: skip
    lines = [[label, *(_pm(read(name)["methods"][row]["average"]) for row in rows)] for name, label in names.items()]
    return table(["Streams", *rows.values()], lines)


def orders(names: dict[str, str]) -> str:
    """What the order of sessions changes; ``names``: result -> name in the table. Fine-tuning is for another table."""
    lines = []
    for name, label in names.items():
        for row, scores in read(name)["methods"].items():
            spread = scores["orders"]
            if spread["scored"] > 1:
                average, last = (f"{spread[f'{what}_spread']['mean']:.2f}" for what in ("average", "last"))
                lines.append(
                    [label, row, str(spread["scored"]), _pm(scores["average"]), average, _pm(scores["last"]), last]
                )
    headers = ["Streams", "Learner", "orders", "average", "between orders", "last", "between orders, last"]
    return table(headers, lines)


def domains(name: str) -> str:
    """One row for each method of a comparison on domains."""
    found = read(name)
    rows = []
    for row, scores in found["methods"].items():
        difference = scores["paired_difference"]
        same = row == found["reference"]
        rows.append(
            [_domain_row(row), _pm(scores["average"]), _pm(scores["worst"]),
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
            [_domain_row(row), _pm(_mean([each["average"] for each in scores])),
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


def _domain_row(row: str) -> str:
    """A method's name; tent before its steps is arm-bn."""
    return "`arm-bn` (`tent`, 0 steps)" if row == "tent" else f"`{row}`"


def checks(names: dict[str, str]) -> str:
    """How the check from unlabelled images came out; ``names``: result -> name in the table."""
    lines = []
    for name, label in names.items():
        found = read(name)
        check, rehearsal = found["check"], found.get("rehearsal")
        always = {row: gain for row, gain in check["gain_always"].items() if gain["mean"]}
        best = max(always, key=lambda row: always[row]["mean"])
        worst = min(always, key=lambda row: always[row]["mean"])
        lines.append(
            [label, *_advice(check), *(["–"] * 2 if rehearsal is None else _advice(rehearsal)),
             *(f"{_pm(always[row], '+')} (`{row}`)" for row in (best, worst))]
        )  # fmt: skip
    told = ["foretold", "gain, followed", "rehearsed", "gain, followed"]
    return table(["Data", *told, "always the best row", "always the worst row"], lines)


def _advice(check: dict[str, Any]) -> list[str]:
    """How many pairs of a row and a domain a check got right, and what following it gains."""
    right = check["domains_right"]
    return [f"{right['right']} of {right['of']}", _pm(check["gain_followed"], "+")]


def rehearsals(names: dict[str, str]) -> str:
    """What every row gained in rehearsal and in earnest; ``names``: result -> name in the table."""
    lines = []
    for name, label in names.items():
        found = read(name)
        rehearsal = found.get("rehearsal")
        for row, gain in (rehearsal or {"gains": {}})["gains"].items():
            if row != found["reference"]:
                better = f"{rehearsal['better_on'][row]} of {sum(map(len, rehearsal['parts']))}"
                lines.append([label, f"`{row}`", _pm(gain, "+"), better,
                              _pm(found["methods"][row]["paired_difference"]["average"], "+")])  # fmt: skip
    return table(["Data", "Row", "rehearsed gain", "better on", "gain in earnest"], lines)


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
    "domains-emoji-3": "Twemoji, Noto 1, Fluent flat",
}
#: PACS, each domain held out in its turn.
PACS = {f"domains-pacs-{domain}": name for domain, name in (
    ("photo", "photo"), ("art_painting", "painting"), ("cartoon", "cartoon"), ("sketch", "sketch"))}  # fmt: skip
#: Every comparison on domains without labels.
DOMAINS = {
    "domains-glyph-styles": "glyph styles",
    **{name: f"emoji: {label}" for name, label in VENDORS.items()},
    "domains-rotated-digits": "rotated digits",
    **{name: f"PACS: {label}" for name, label in PACS.items()},
}
#: Every comparison on streams of sessions.
STREAMS = {
    "incremental-omniglot": "Omniglot, 200 + 20 × 5",
    "incremental-caltech": "Caltech-101, 60 + 8 × 5",
    "incremental-online": "Omniglot, 20 + 100 × 1",
}
#: Scenes of the multi-task table, as the script spells them.
SCENES = "scenes:../shared/data/emoji9_64_rgba.zip?class=file&size=32&grid=2"
#: Data sets of one visual task, by how the script spells them.
SETS = {
    "glyphs?size=28&color=rgb": "characters",
    "folder:../shared/data/gtsrb_32_3pertrack.zip?size=28": "signs",
    "folder:../shared/data/caltech101_84.zip?size=28": "photos",
    "folder:../shared/data/emoji9_64_rgba.zip?class=file&size=28": "emoji",
}

TABLES: dict[str, Callable[[], str]] = {
    "incremental_omniglot": lambda: incremental("incremental-omniglot"),
    "incremental_caltech": lambda: incremental("incremental-caltech"),
    "incremental_corrections": lambda: corrections(
        {
            "incremental-signs-corrected": "traffic signs, 23 + 4 × 5 (to choose by)",
            "incremental-caltech-corrected": STREAMS["incremental-caltech"],
        }
    ),
    "incremental_blind": lambda: incremental("incremental-caltech-blind"),
    "incremental_online": lambda: incremental("incremental-online"),
    "incremental_orders": lambda: orders(there(STREAMS)),
    "domains_styles": lambda: domains("domains-glyph-styles"),
    "domains_emoji": lambda: domain_groups(there(VENDORS)),
    "domains_rotated": lambda: domains("domains-rotated-digits"),
    "domains_rotated_labelled": lambda: domains("domains-rotated-digits-labelled"),
    "domains_emoji_labelled": lambda: domains("domains-emoji-labelled"),
    "domains_pacs": lambda: domain_groups(there(PACS)),
    "domain_check": lambda: checks(there(DOMAINS)),
    "domain_rehearsal": lambda: rehearsals(there(DOMAINS)),
    "sequence": sequence,
    "multitask": lambda: multitask(
        "multitask-visual",
        {
            "shared": "one for all three",
            "classification+segmentation+detection": "one for each, as large",
            "small-classification+small-segmentation+small-detection": "one for each, half as large",
            "tiny-classification+tiny-segmentation+tiny-detection": "one for each, as large together",
        },
        {
            "glyphs?size=32&color=rgb: classification": "classification, accuracy",
            f"{SCENES}: segmentation": "segmentation, mIoU",
            f"{SCENES}: detection": "detection, AP50",
        },
    ),
    "datasets": lambda: multitask(
        "multitask-datasets",
        {
            "shared": "one for all four",
            "characters+signs+photos+emoji": "one for each, as large",
            "small-characters+small-signs+small-photos+small-emoji": "one for each, as large together",
        },
        {f"{spec}: classification": name for spec, name in SETS.items()},
    ),
    "pareto": pareto,
}
