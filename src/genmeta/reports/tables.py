"""Tables of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from genmeta.core.errors import UsageError, unknown
from genmeta.engine.scores import Evaluation, Interval, StepScores, paired, steps_to_reach
from genmeta.reports.blocks import MISSING, NOT_REACHED, Table


def number(value: float, digits: int = 2) -> str:
    """A number with so many decimals; :data:`MISSING` for ``nan``."""
    return f"{value:.{digits}f}" if math.isfinite(value) else MISSING


def interval(value: Interval, digits: int = 2, *, signed: bool = False) -> str:
    """``mean ± half-width``; the mean alone where there is no interval."""
    if not math.isfinite(value.mean):
        return MISSING
    mean = f"{value.mean:+.{digits}f}".replace("-", "−") if signed else f"{value.mean:.{digits}f}"
    return f"{mean} ± {value.half_width:.{digits}f}" if math.isfinite(value.half_width) else mean


def count(steps: int) -> str:
    """``1 step``, ``5 steps``."""
    return f"{steps} step" if steps == 1 else f"{steps} steps"


def check(evaluations: Mapping[str, Evaluation]) -> None:
    """Refuses nothing at all, and methods that were not scored at any step."""
    if not evaluations or not all(evaluations.values()):
        empty = [name for name, evaluation in evaluations.items() if not evaluation]
        raise UsageError(
            f"A report needs one method or more, each scored at one step or more; got none of {empty or 'any'}."
        )


def score_table(
    evaluations: Mapping[str, Evaluation],
    steps: Sequence[int],
    reference: str | None = None,
    *,
    reference_step: int | None = None,
) -> Table:
    """Accuracies after some steps, and what else is known after the last of them.

    Negative log-likelihood, calibration error and time are those after the last of ``steps`` that the method was scored
    at. So is the difference, which is taken against ``reference`` after ``reference_step``, episode by episode.

    Args:
        evaluations: method -> its scores, all on the same episodes.
        steps: numbers of steps to show.
        reference: the method to compare with; ``None`` for no comparison.
        reference_step: where to take the reference; by default after the last of ``steps``.

    Raises:
        UsageError: no methods, no steps, a method scored at none of the steps, a reference that was not scored at its
            step, or methods scored on different episodes.
    """
    check(evaluations)
    steps = tuple(sorted(set(steps)))
    if not steps:
        raise UsageError("A table of scores needs one number of steps or more, such as steps=(0, 1, 5).")
    last = {name: max((s for s in steps if s in scores), default=-1) for name, scores in evaluations.items()}
    for name, step in last.items():
        if step < 0:
            raise UsageError(f"{name!r} was scored after {sorted(evaluations[name])} steps, none of {list(steps)}.")
    said = score_name(evaluations)
    headers = ["Method", *(f"{said}, {count(step)}" for step in steps), "NLL", "ECE", "Adaptation, ms"]
    caption = f"{said} in percent with its 95 % confidence interval over episodes; the highest mean is bold. "
    caption += "NLL (nats per image, or per labelled pixel), ECE (percent) and time for one task are after the last "
    caption += "step shown for the method."
    against: StepScores | None = None
    at = steps[-1] if reference_step is None else reference_step
    if reference is not None:
        against = _reference(evaluations, reference, at)
        headers.append(f"Δ to {reference}, {count(at)}")
        caption += f" Δ: paired difference in percent points, that step minus {reference} after {count(at)}."
    rows = []
    for name, scores in evaluations.items():
        final = scores[last[name]]
        row = [name, *(interval(_percent(scores[step])) if step in scores else MISSING for step in steps)]
        row += [interval(Interval.of(final.nll), 3), number(100 * final.ece), number(1000 * final.seconds, 1)]
        if against is not None:
            same = final is against
            row.append(MISSING if same else interval(paired(final.accuracy, against.accuracy), signed=True))
        rows.append(tuple(row))
    return Table(tuple(headers), tuple(rows), caption, _best(evaluations, steps))


def accuracy_table(evaluations: Mapping[str, Evaluation], steps: Sequence[int], reference: str | None = None) -> Table:
    """Accuracies after some steps, narrow enough for a terminal, with paired differences at the first and the last.

    Args:
        evaluations: method -> its scores, all on the same episodes and after all of ``steps``.
        steps: numbers of steps to show.
        reference: the method whose accuracy after the last step is subtracted, episode by episode; ``None`` for none.

    Raises:
        UsageError: no methods, a method not scored after one of the steps, or a reference that was not scored.
    """
    check(evaluations)
    for name, scores in evaluations.items():
        if missing := [step for step in steps if step not in scores]:
            raise UsageError(f"{name!r} was scored after {sorted(scores)} steps, not after {missing[0]}.")
    last = steps[-1]
    headers = ["Method", *(count(step) for step in steps)]
    said = score_name(evaluations)
    caption = f"{said} in percent with its 95 % confidence interval, the same episodes for every method."
    against = None if reference is None or len(evaluations) < 2 else _reference(evaluations, reference, last)
    if against is not None:
        headers += [f"Δ at {step}" for step in dict.fromkeys((steps[0], last))]
        caption += f" Δ: paired difference in points to {reference} after {count(last)}."
    rows = []
    for name, scores in evaluations.items():
        row = [name, *(interval(_percent(scores[step]), 1) for step in steps)]
        if against is not None:
            for step in dict.fromkeys((steps[0], last)):
                same = scores[step] is against
                difference = paired(scores[step].accuracy, against.accuracy)
                row.append(MISSING if same else interval(difference, 1, signed=True))
        rows.append(tuple(row))
    return Table(tuple(headers), tuple(rows), caption, _best(evaluations, tuple(steps)))


def steps_table(evaluations: Mapping[str, Evaluation], accuracies: Sequence[float] = (0.5, 0.7, 0.9)) -> Table:
    """The fewest scored steps, and their milliseconds, with which each method reaches given accuracies.

    Args:
        evaluations: method -> its scores.
        accuracies: fractions in [0, 1].

    Raises:
        UsageError: no methods, no accuracies, or accuracies outside [0, 1].
    """
    check(evaluations)
    if not accuracies or not all(0 <= accuracy <= 1 for accuracy in accuracies):
        raise UsageError(f"Accuracies to reach are fractions in [0, 1], such as 0.9; got {tuple(accuracies)}.")
    headers = ["Method"]
    for accuracy in accuracies:
        headers += [f"Steps to {100 * accuracy:g} %", f"ms to {100 * accuracy:g} %"]
    rows = []
    for name, evaluation in evaluations.items():
        row = [name]
        for accuracy in accuracies:
            reached = steps_to_reach(evaluation, accuracy)
            row += [NOT_REACHED, MISSING] if reached is None else [str(reached[0]), number(1000 * reached[1], 1)]
        rows.append(tuple(row))
    scored = sorted({step for evaluation in evaluations.values() for step in evaluation})
    caption = (
        f"The fewest adaptation steps whose {in_text(score_name(evaluations))} is on average at least the one named, "
        "and the time for one task; "
        f"scored after {', '.join(map(str, scored))} steps."
    )
    return Table(tuple(headers), tuple(rows), caption)


def score_name(evaluations: Mapping[str, Evaluation]) -> str:
    """What the main score is called, ``Accuracy`` for classification."""
    metric = next((scores.metric for each in evaluations.values() for scores in each.values()), "accuracy")
    return {"miou": "Mean IoU", "ap50": "AP50"}.get(metric, metric.capitalize())


def in_text(name: str) -> str:
    """The name of a score within a sentence."""
    return name if name[-1].isupper() or name[-1].isdigit() else name.lower()


def _percent(scores: StepScores) -> Interval:
    return Interval.of(100 * scores.accuracy)


def _reference(evaluations: Mapping[str, Evaluation], name: str, step: int) -> StepScores:
    if name not in evaluations:
        raise unknown("reference method", name, evaluations)
    if step not in evaluations[name]:
        raise UsageError(
            f"The reference {name!r} was scored after {sorted(evaluations[name])} steps, not after {step}. "
            "Give reference_step one of those."
        )
    return evaluations[name][step]


def _best(evaluations: Mapping[str, Evaluation], steps: Sequence[int]) -> frozenset[tuple[int, int]]:
    strong = set()
    for column, step in enumerate(steps, 1):
        means = {row: s[step].accuracy.mean() for row, s in enumerate(evaluations.values()) if step in s}
        if len(means) > 1:
            strong |= {(row, column) for row, mean in means.items() if mean == max(means.values())}
    return frozenset(strong)
