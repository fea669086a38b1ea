"""The numbers in tables are those of the scores."""

from __future__ import annotations

import io
import statistics

import numpy as np
import pytest
from rich.console import Console

from genmeta.core.errors import UsageError
from genmeta.engine import Evaluation
from genmeta.reports import Table, accuracy_table, print_table, score_table, steps_table


def mean_and_half(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5


def test_score_table_by_hand(evaluations: dict[str, Evaluation]) -> None:
    table = score_table(evaluations, (5, 0), "maml")
    assert table.headers[:3] == ("Method", "Accuracy, 0 steps", "Accuracy, 5 steps")
    assert table.headers[-1] == "Δ to maml, 5 steps"
    rows = {row[0]: row for row in table.rows}
    for name, row in rows.items():
        for column, step in ((1, 0), (2, 5)):
            if step in evaluations[name]:
                mean, half = mean_and_half([100 * a for a in evaluations[name][step].accuracy.tolist()])
                assert row[column] == f"{mean:.2f} ± {half:.2f}"
    assert rows["protonet"][2] == "–"
    nll, nll_half = mean_and_half(evaluations["maml"][5].nll.tolist())
    assert rows["maml"][3] == f"{nll:.3f} ± {nll_half:.3f}"
    last = evaluations["maml"][5]
    ece = 0.0
    for b in range(15):
        inside = (last.confidence >= b / 15) & (last.confidence < (b + 1) / 15)
        if inside.any():
            ece += inside.mean() * abs(last.correct[inside].mean() - last.confidence[inside].mean())
    assert rows["maml"][4] == f"{100 * ece:.2f}"
    assert [rows[name][5] for name in ("maml", "hypernet", "protonet")] == ["45.6", "–", "12.3"]
    difference = 100 * (evaluations["hypernet"][5].accuracy - last.accuracy)
    mean, half = mean_and_half(difference.tolist())
    assert mean > 0
    assert rows["hypernet"][-1] == f"+{mean:.2f} ± {half:.2f}"
    assert rows["maml"][-1] == "–"
    # protonet has no steps: what it has is compared
    mean, _ = mean_and_half((100 * (evaluations["protonet"][0].accuracy - last.accuracy)).tolist())
    assert mean < 0
    assert rows["protonet"][-1].startswith(f"−{-mean:.2f} ± ")
    assert table.strong == {(2, 1), (1, 2)}
    assert table.numeric == (False, *[True] * 6)


def test_reference_after_another_step(evaluations: dict[str, Evaluation]) -> None:
    del evaluations["protonet"]
    table = score_table(evaluations, (1,), "maml", reference_step=5)
    mean = 100 * float(np.mean(evaluations["maml"][1].accuracy - evaluations["maml"][5].accuracy))
    assert table.headers[-1] == "Δ to maml, 5 steps"
    assert table.rows[0][-1].startswith(f"−{-mean:.2f} ± ")


def test_steps_table_by_hand(evaluations: dict[str, Evaluation]) -> None:
    table = steps_table(evaluations, (0.6, 0.999))
    assert table.headers == ("Method", "Steps to 60 %", "ms to 60 %", "Steps to 99.9 %", "ms to 99.9 %")
    assert table.rows == (
        ("maml", "5", "45.6", "not reached", "–"),
        ("hypernet", "0", "12.3", "not reached", "–"),
        ("protonet", "0", "12.3", "not reached", "–"),
    )
    assert table.numeric == (False, True, True, True, True)


def test_reached_without_a_time(one: dict[str, Evaluation]) -> None:
    (row,) = steps_table(one, (0.01,)).rows
    assert row[1:] == ("3", "–")


def test_one_episode_has_no_interval(one: dict[str, Evaluation]) -> None:
    (row,) = score_table(one, (3,)).rows
    (scores,) = next(iter(one.values())).values()
    assert row[1] == f"{100 * scores.accuracy[0]:.2f}"
    assert row[2] == f"{scores.nll[0]:.3f}"
    assert row[4] == "–"
    assert "nan" not in " ".join(row)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": ()}, "one number of steps or more"),
        ({"steps": (1,)}, r"'protonet' was scored after \[0\] steps, none of \[1\]"),
        ({"reference": "mamk"}, "Unknown reference method 'mamk'. Did you mean 'maml'"),
        ({"reference": "protonet"}, r"'protonet' was scored after \[0\] steps, not after 5"),
    ],
)
def test_score_table_refuses(evaluations: dict[str, Evaluation], change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        score_table(evaluations, **{"steps": (0, 5), **change})


def test_nothing_to_report_is_refused(evaluations: dict[str, Evaluation]) -> None:
    with pytest.raises(UsageError, match="one method or more"):
        score_table({}, (0,))
    with pytest.raises(UsageError, match="none of \\['x'\\]"):
        steps_table({"x": {}})
    with pytest.raises(UsageError, match="fractions in"):
        steps_table(evaluations, (90,))


def test_print_table_shows_the_same_cells(evaluations: dict[str, Evaluation]) -> None:
    hostile = "[bold]maml[/bold] [/]"
    table = score_table({hostile: evaluations["maml"], "b": evaluations["hypernet"]}, (0, 5), "b")
    out = io.StringIO()
    print_table(Console(file=out, width=200), table)
    lines = out.getvalue().splitlines()
    for row in table.rows:
        (line,) = (line for line in lines if line.strip().startswith(row[0]))
        assert line.split() == " ".join(row).split()
    assert table.caption.split()[0] in out.getvalue()


def test_print_table_aligns_numbers_right() -> None:
    out = io.StringIO()
    print_table(Console(file=out, width=60), Table(("Name", "Score"), (("a", "1.5"), ("b", "100.25"))))
    ends = [len(line.rstrip()) for line in out.getvalue().splitlines() if line.strip()[:1] in ("a", "b")]
    assert len(ends) == 2
    assert ends[0] == ends[1]


def test_a_narrow_terminal_does_not_break_the_words_of_names() -> None:
    out = io.StringIO()
    scores = ("12.5 ± 0.1",) * 7
    rows = (("fine-tuning", *scores), ("class means on features", *scores), ("x" * 60, *scores))
    print_table(Console(file=out, width=80), Table(("Learner", *(f"score {n}" for n in range(7))), rows))
    assert all(word in out.getvalue() for word in ("fine-tuning", "class", "features"))
    assert all(len(line) <= 80 for line in out.getvalue().splitlines())


@pytest.mark.parametrize("width", [*range(30, 160, 5), *range(100, 130), 300])
def test_no_terminal_is_too_narrow_to_show_every_letter(width: int) -> None:
    """A table that is wider than its terminal would be cut off, so that 1,284 reads as 1,28."""
    names = ("hypernet", "class means on hypernet's features", "replay, 2 a class", "y" * 30)
    headers = ("Learner", "average", "base session", "forgetting", "to hypernet", "ms a session", "bytes a class")
    cells = ("94.7 ± 1.9", "98.0 ± 10.2", "0.0 ± 0.0", "−148.13 ± 1.92", "5.1", "1,284")
    out = io.StringIO()
    print_table(Console(file=out, width=width), Table(headers, tuple((name, *cells) for name in names)))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    letters = sorted(letter for line in lines for letter in line if letter not in " ─")
    assert letters == sorted("".join([*headers, *names, *cells * len(names)]).replace(" ", ""))
    if width >= 80:
        assert out.getvalue().count("1,284") == out.getvalue().count("−148.13") == len(names)


def test_one_endless_header_leaves_the_others_whole() -> None:
    out = io.StringIO()
    headers = ("Row", "x" * 40, "parameters", "steps")
    print_table(Console(file=out, width=50), Table(headers, (("shared", "1.0", "12", "2"),)))
    assert "parameters  steps" in out.getvalue()


def test_numbers_stay_whole_where_headers_can_be_broken_instead() -> None:
    out = io.StringIO()
    headers = ("Learner", *(f"a header of several words {n}" for n in range(4)))
    print_table(Console(file=out, width=60), Table(headers, (("some learner", *("94.7 ± 1.9",) * 4),)))
    assert out.getvalue().count("94.7 ± 1.9") == 4


def test_accuracy_table_by_hand(evaluations: dict[str, Evaluation]) -> None:
    both = {name: scores for name, scores in evaluations.items() if {0, 5} <= set(scores)}
    reference = next(iter(both))
    table = accuracy_table(both, (0, 5), reference)
    assert table.headers == ("Method", "0 steps", "5 steps", "Δ at 0", "Δ at 5")
    base = both[reference][5].accuracy
    for row in table.rows:
        for column, step in ((1, 0), (2, 5)):
            mean, half = mean_and_half([100 * a for a in both[row[0]][step].accuracy.tolist()])
            assert row[column] == f"{mean:.1f} ± {half:.1f}"
            if (row[0], step) == (reference, 5):
                assert row[column + 2] == "–"
            else:
                gap, half = mean_and_half((100 * (both[row[0]][step].accuracy - base)).tolist())
                assert row[column + 2].lstrip("+−-") == f"{abs(gap):.1f} ± {half:.1f}"


def test_accuracy_table_wants_every_step(evaluations: dict[str, Evaluation]) -> None:
    with pytest.raises(UsageError, match="not after 77"):
        accuracy_table(evaluations, (0, 77))
