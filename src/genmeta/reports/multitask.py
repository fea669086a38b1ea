"""Tables and pictures of the multi-task scenario."""

from __future__ import annotations

from collections.abc import Mapping

from genmeta.engine.scores import Interval
from genmeta.reports.bars import grouped_bars
from genmeta.reports.blocks import MISSING, Picture, Table
from genmeta.reports.svg import drawing
from genmeta.reports.tables import interval
from genmeta.scenarios.multitask import MultiTaskScores, delta_mtl, mean_difference


def cell_names(scores: Mapping[str, MultiTaskScores]) -> list[str]:
    """Every cell that some row answers, in order."""
    return list(dict.fromkeys(cell for each in scores.values() for cell in each.cells))


def multitask_table(scores: Mapping[str, MultiTaskScores], reference: str) -> Table:
    """One row for each checkpoint or team; gains are over the reference, on the cells that both answer."""
    cells, rows = cell_names(scores), []
    for name, each in scores.items():
        shared = MultiTaskScores({c: s for c, s in each.cells.items() if c in scores[reference].cells}, 0, 0)
        found = [each.cells.get(cell) for cell in cells]
        gains = [MISSING, MISSING]
        if name != reference and shared.cells:
            base = scores[reference]
            over = (mean_difference(shared, base), delta_mtl(shared, base))
            gains = [MISSING if gain is None else interval(gain, 1, signed=True) for gain in over]
        shown = [MISSING if s is None else interval(Interval.of(100 * s.accuracy), 1) for s in found]
        rows.append((name, *shown, *gains, f"{each.parameters:,}", f"{each.training_steps:,}"))
    metrics = {cell: s.metric for each in scores.values() for cell, s in each.cells.items()}
    headers = ("Row", *(f"{cell}, {metrics[cell]}" for cell in cells), "mean gain", "ΔMTL, %", "parameters", "steps")
    caption = f"Scores in %, with 95 % intervals over episodes; mean gain in points and ΔMTL over {reference}."
    return Table(headers, tuple(rows), caption)


@drawing()
def multitask_bars(scores: Mapping[str, MultiTaskScores]) -> Picture:
    """The score of every cell, a bar for each row."""
    heights = {
        name: {cell: Interval.of(100 * s.accuracy) for cell, s in each.cells.items()} for name, each in scores.items()
    }
    figure = grouped_bars(cell_names(scores), heights, ylabel="main score, %", columns=2)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{c} {100 * s.accuracy.mean():.1f} %" for c, s in each.cells.items())
        for name, each in scores.items()
    )
    return Picture(figure, f"Scores of every cell. {said}.", "Bars with 95 % intervals.", wide=True)
