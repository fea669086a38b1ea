"""Tables and pictures of the incremental and the domain scenario."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import MaxNLocator

from genmeta.engine.scores import Interval, paired
from genmeta.reports.bars import grouped_bars
from genmeta.reports.blocks import MISSING, Picture, Table
from genmeta.reports.colours import series
from genmeta.reports.svg import drawing, new_figure, plot_axes, shorten
from genmeta.reports.tables import interval, number
from genmeta.scenarios.domain import DomainScores, worst_difference
from genmeta.scenarios.domain_check import Check
from genmeta.scenarios.incremental import IncrementalScores
from genmeta.scenarios.rehearsal import Rehearsal


def incremental_table(scores: Mapping[str, IncrementalScores]) -> Table:
    """One row for each learner; the difference is of the average accuracy, to the first row, stream by stream."""
    first = next(iter(scores))
    rows = []
    for name, each in scores.items():
        difference = MISSING if name == first else interval(paired(each.average, scores[first].average), 1, signed=True)
        percent = (each.average, each.accuracy[:, 0], each.accuracy[:, -1], each.forgetting, each.harmonic_mean)
        rows.append(
            (
                name,
                *(interval(Interval.of(100 * values), 1) for values in percent),
                difference,
                number(1000 * float(np.median(each.seconds)), 1) if each.seconds.size else MISSING,
                f"{each.bytes_per_class:,.0f}",
            )
        )
    scores_of = ("Learner", "average", "base session", "last session", "forgetting", "old and new")
    headers = (*scores_of, f"to {first}", "ms a session", "bytes a class")
    caption = (
        "Accuracy on all classes met so far, in %: averaged over sessions, after the base session, after the last; "
        "forgetting in points; harmonic mean of base and later classes at the end. 95 % intervals over streams."
    )
    return Table(headers, tuple(rows), caption)


def domain_table(
    scores: Mapping[str, DomainScores], reference: str, check: Check | None = None, rehearsal: Rehearsal | None = None
) -> Table:
    """One row for each method; differences to the reference, episode by episode.

    A check adds what was foretold from unlabelled images, and what it recommends for each domain; a rehearsal the
    points over the reference on training domains that were kept out, and the row that it recommends.
    """
    rows = []
    for name, each in scores.items():
        domain, worst = each.worst
        same = name == reference
        base = scores[reference]
        rows.append(
            (
                name,
                interval(Interval.of(100 * each.average), 1),
                interval(Interval.of(100 * worst), 1),
                domain,
                MISSING if same else interval(paired(each.average, base.average), 1, signed=True),
                MISSING if same else interval(worst_difference(each, base), 1, signed=True),
                number(100 * float(np.mean(list(each.ece.values()))), 1),
                number(each.milliseconds, 1),
                *([] if check is None else [_foretold(check, name)]),
                *([] if rehearsal is None else [MISSING if same else _rehearsed(rehearsal, name)]),
            )
        )
    scores_of = ("Method", "average", "worst", "worst domain", f"average to {reference}", f"worst to {reference}")
    told = (*(() if check is None else ("foretold",)), *(() if rehearsal is None else ("rehearsed",)))
    headers = (*scores_of, "ECE", "ms", *told)
    caption = "Accuracy on held-out domains in %, with 95 % intervals over episodes."
    if check is not None:
        caption += (
            f" Foretold, from unlabelled images alone: accuracy on average; {_recommended(check)}. That is often "
            "wrong: see docs/scenarios.md."
        )
    if rehearsal is not None:
        domains = sum(len(part) for part in rehearsal.parts)
        caption += (
            f" Rehearsed: points over {reference} on the {domains} training domains, each kept out of a training for "
            f"it, with 95 % intervals over domains; best: {rehearsal.recommended()}."
        )
    return Table(headers, tuple(rows), caption)


def _recommended(check: Check) -> str:
    """Which row is foretold to be best where, row by row."""
    where: dict[str, list[str]] = {}
    for domain, row in check.recommended().items():
        where.setdefault(row, []).append(domain)
    if len(where) == 1:
        return f"best on all of them: {next(iter(where))}"
    return "; ".join(f"best on {', '.join(domains)}: {row}" for row, domains in where.items())


def _foretold(check: Check, name: str) -> str:
    return number(100 * float(np.mean([values.mean() for values in check.estimates[name].values()])), 1)


def _rehearsed(rehearsal: Rehearsal, name: str) -> str:
    return interval(Interval.of(rehearsal.gains(name)), 1, signed=True)


@drawing()
def session_curves(scores: Mapping[str, IncrementalScores]) -> Picture:
    """Accuracy on all classes met so far against sessions."""
    figure = new_figure(7.2, 3.6)
    axes = plot_axes(figure, 0.6, 0.5, 4.0, 2.8)
    for at, (name, each) in enumerate(scores.items()):
        colour, marker, line = series(at)
        columns = [Interval.of(100 * column) for column in each.accuracy.T]
        mean = np.array([c.mean for c in columns])
        half = np.nan_to_num(np.array([c.half_width for c in columns]))
        axes.fill_between(range(len(mean)), mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
        axes.plot(mean, color=colour, marker=marker, linestyle=line, markersize=4, label=shorten(name, 34))
    axes.set_xlabel("session (0: base)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("accuracy on all classes so far, %")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=8)
    said = "; ".join(f"{name} {100 * each.accuracy[:, -1].mean():.1f} %" for name, each in scores.items())
    return Picture(
        figure, f"Accuracy against sessions; after the last: {said}.", "The band is the 95 % interval.", True
    )


@drawing()
def domain_bars(scores: Mapping[str, DomainScores]) -> Picture:
    """Accuracy on every held-out domain, a bar for each method."""
    domains = list(next(iter(scores.values())).accuracy)
    heights = {
        name: {domain: Interval.of(100 * values) for domain, values in each.accuracy.items()}
        for name, each in scores.items()
    }
    figure = grouped_bars(domains, heights, ylabel="accuracy, %", columns=4)
    said = "; ".join(f"{name} {100 * each.average.mean():.1f} %" for name, each in scores.items())
    return Picture(figure, f"Accuracy on held-out domains; on average: {said}.", "Bars with 95 % intervals.", wide=True)
