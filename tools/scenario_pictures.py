"""The pictures of docs/scenarios.md, from result files: ``python tools/scenario_pictures.py``.

Pareto front of two overlapping digits; a bar for every held-out domain; accuracy session by session. What has no result
file is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
COLOURS = ("#4053d3", "#ddb310", "#b51d14", "#00a17d", "#8e4ec6", "#666666", "#00beff")
MARKERS = "os^Dvx+"


def found(name: str) -> dict[str, Any] | None:
    """A result file, where there is one."""
    path = ROOT / "results" / name / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def save(figure: Figure, name: str) -> None:
    """Writes a picture for the page."""
    figure.set_facecolor("#ffffff")
    figure.savefig(ROOT / "docs" / "pictures" / f"{name}.png", dpi=100, bbox_inches="tight")


def front() -> None:
    """Losses of both digits, a point for each preference; the first seed."""
    result = found("pareto-two-digits")
    if result is None:
        return
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.add_subplot()
    for at, (name, row) in enumerate(result["rows"].items()):
        if "preferences" in name:
            continue  # the same network, asked less
        points = [point["losses"] for point in row["points"]]
        line = "-" if name.startswith("hypernetwork") else ""
        axes.plot(*zip(*points, strict=True), MARKERS[at] + line, color=COLOURS[at], markersize=4, label=name)
    axes.set_xlabel("loss on the first digit, nats")
    axes.set_ylabel("loss on the second digit, nats")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    save(figure, "scenarios-pareto")


def domains(picture: str, names: tuple[str, ...]) -> None:
    """Accuracy on every held-out domain of these results, a bar for each method; rows after steps are left out."""
    results = [result for name in names if (result := found(name)) is not None]
    if len(results) < len(names):
        return
    methods = [method for method in results[0]["methods"] if " step" not in method]
    accuracy = {m: {d: v for result in results for d, v in result["methods"][m]["domains"].items()} for m in methods}
    places = list(accuracy[methods[0]])
    figure = Figure(figsize=(1.8 + 0.9 * len(places), 2.8))
    axes = figure.add_subplot()
    width = 0.8 / len(methods)
    for at, method in enumerate(methods):
        values = [accuracy[method][place] for place in places]
        axes.bar([x - 0.4 + (at + 0.5) * width for x in range(len(places))], [v["mean"] for v in values], width,
                 yerr=[v["ci95"] for v in values], color=COLOURS[at % len(COLOURS)], label=method)  # fmt: skip
    axes.set_xticks(range(len(places)), [place.replace("-", "\n", 1) for place in places], fontsize=8)
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, picture)


def sessions(picture: str, name: str) -> None:
    """Accuracy on all classes so far, after each session."""
    result = found(name)
    if result is None:
        return
    figure = Figure(figsize=(5.2, 3.0))
    axes = figure.add_subplot()
    for at, (learner, row) in enumerate(result["methods"].items()):
        after = row["accuracy_after_session"]
        means = [value["mean"] for value in after]
        axes.plot(range(len(after)), means, color=COLOURS[at], label=learner, linewidth=1.4)
        low, high = ([m + sign * v["ci95"] for m, v in zip(means, after, strict=True)] for sign in (-1, 1))
        axes.fill_between(range(len(after)), low, high, color=COLOURS[at], alpha=0.15, linewidth=0)
    axes.set_xlabel("sessions after the base")
    axes.set_ylabel("accuracy on all classes so far, %")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    save(figure, picture)


def main() -> None:
    """Draws what there is to draw."""
    front()
    domains("scenarios-domains-emoji", tuple(f"domains-emoji-{group}" for group in (1, 2, 3)))
    domains("scenarios-domains-rotated-digits", ("domains-rotated-digits",))
    domains(
        "scenarios-domains-pacs", tuple(f"domains-pacs-{d}" for d in ("photo", "art_painting", "cartoon", "sketch"))
    )
    for name in ("omniglot", "caltech", "online"):
        sessions(f"scenarios-incremental-{name}", f"incremental-{name}")


if __name__ == "__main__":
    main()
