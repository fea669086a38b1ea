"""Tables of docs/photos.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables_files import read, table

#: Rows of the photo tables.
PHOTO_ROWS = (
    "prototypes", "logistic regression", "1-nearest neighbour", "fine-tuning",
    "constant, 0 steps", "constant, 4 steps", "generated, 0 steps", "generated, 4 steps",
)  # fmt: skip


def _photos(shots: int) -> str:
    found = read("photos-5w")
    scores, sets = found["scores"][f"{shots}-shot"], found["episodes"]["sets"]
    rows = []
    for name in (row for row in PHOTO_ROWS if row in scores):
        of = scores[name]
        cells = [f"{of[s]['accuracy']['mean']:.1f} ± {of[s]['accuracy']['ci95']:.1f}" for s in sets]
        whole = of["all"]
        mean = f"{whole['accuracy']['mean']:.1f} ± {whole['accuracy']['ci95']:.1f}"
        rows.append([name, *cells, mean, f"{whole['nll']['mean']:.2f}", f"{whole['ece']:.1f}", str(whole["episodes"])])
    return table(["Row", *sets, "all", "NLL", "ECE, %", "episodes"], rows)


def photos1() -> str:
    """5-way 1-shot on held-out sets."""
    return _photos(1)


def photos5() -> str:
    """5-way 5-shot on held-out sets."""
    return _photos(5)


def photopairs() -> str:
    """Points of one row above another, on the episodes both have answered."""
    found = read("photos-5w")
    rows = []
    for shots in (1, 5):
        for row in ("generated, 0 steps", "generated, 4 steps"):
            whole = found["scores"][f"{shots}-shot"][row]["all"]["minus"]
            for other in ("prototypes", "logistic regression", "fine-tuning", row.replace("generated", "constant")):
                if other in whole:
                    gap = whole[other]
                    mean = f"{gap['mean']:+.2f} ± {gap['ci95']:.2f}"
                    rows.append([f"{shots}-shot", row, other, mean, str(gap["episodes"])])
    for row in ("generated, 0 steps", "generated, 4 steps"):
        other = row.replace("generated", "constant")
        gap = found["both_shots_minus"][row][other]
        mean = f"{gap['mean']:+.2f} ± {gap['ci95']:.2f}"
        rows.append(["both", row, other, mean, str(gap["episodes"])])
    return table(["Task", "Row", "minus", "points", "episodes"], rows)


def photosets() -> str:
    """The generated model with its steps minus logistic regression and prototypes, set by set."""
    found = read("photos-5w")
    rows = []
    for name in found["episodes"]["sets"]:
        gaps = [
            found["scores"][f"{shots}-shot"]["generated, 4 steps"][name]["minus"][other]
            for shots in (1, 5)
            for other in ("logistic regression", "prototypes")
        ]
        cells = [f"{gap['mean']:+.1f} ± {gap['ci95']:.1f}" for gap in gaps]
        rows.append([name, *cells])
    headers = [f"{shots}-shot, minus {other}" for shots in (1, 5) for other in ("logistic regression", "prototypes")]
    return table(["Set", *headers], rows)


def photoseconds() -> str:
    """Seconds to a model from 25 and from 5 images."""
    found = read("photos-5w")["seconds"]
    rows = [[name, *[f"{of[shots]:.2f}" for shots in ("1-shot", "5-shot")]] for name, of in found["rows"].items()]
    return table(["Row", "5-way 1-shot, s", "5-way 5-shot, s"], rows)


def _points(gap: dict[str, Any]) -> str:
    return f"{gap['mean']:+.1f} ± {gap['ci95']:.1f}"


def photochoose() -> str:
    """The two fits of the fallback on the sets that it was chosen on: to the worst sets, and to their mean."""
    scores, rows = read("photos-choose")["scores"], []
    for shots in (1, 5):
        for row in ("generated, 4 steps", "generated, fitted on average, 4 steps"):
            of = scores[f"{shots}-shot"][row]
            cells = [f"{of['all']['accuracy']['mean']:.1f}"]
            cells += [
                _points(of[name]["minus"]["logistic regression"]) for name in ("all", "choose-near", "choose-nearer")
            ]
            rows.append([f"{shots}-shot", row, *cells])
    above = ("all sets", "photos seen from near", "from nearer")
    return table(["Task", "Row", "all sets", *[f"{name}, minus logistic regression" for name in above]], rows)


def phototraining() -> str:
    """How the second phase went for both twins, on the same episodes."""
    rows = []
    for row in read("photos-training")["parts"]:
        cells = [f"{row[key]['mean']:+.2f} ± {row[key]['ci95']:.2f}" for key in ("accuracy_gain", "loss_gain")]
        rows.append([f"{row['first_step']} to {row['last_step']}", *cells])
    return table(["Meta-steps", "accuracy after four steps, points", "loss, nats"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "photos1": photos1,
    "photos5": photos5,
    "photopairs": photopairs,
    "photosets": photosets,
    "photoseconds": photoseconds,
    "photochoose": photochoose,
    "phototraining": phototraining,
}
