"""Pictures show what they are given."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from reports_helpers import svg_of, texts

from genmeta.core.errors import UsageError
from genmeta.core.types import Examples, Weights
from genmeta.engine import Evaluation
from genmeta.reports import accuracy_curves, calibration_curves, task_picture, weights_picture
from genmeta.reports.calibration import reliability
from genmeta.reports.panels import panels_of
from genmeta.reports.scenarios import domain_bars, session_curves
from genmeta.reports.svg import leaves, shorten, two_lines
from genmeta.scenarios.domain import DomainScores
from genmeta.scenarios.incremental import IncrementalScores


def test_accuracy_curves_draw_the_means(evaluations: dict[str, Evaluation]) -> None:
    picture = accuracy_curves(evaluations, "Title")
    assert isinstance(picture.image, Figure)
    (axes,) = picture.image.axes
    drawn = [(line.get_xdata(), line.get_ydata()) for line in axes.lines if line.get_marker() in list("os^")]
    for (x, y), evaluation in zip(drawn, evaluations.values(), strict=True):
        assert list(x) == sorted(evaluation)
        assert y == pytest.approx([100 * evaluation[step].accuracy.mean() for step in sorted(evaluation)])
    assert {"Title", "maml", "hypernet", "protonet", "0", "1", "5"} <= set(texts(picture))
    low, high = axes.get_ylim()
    assert low < 20 < 90 < high
    assert f"{100 * evaluations['maml'][5].accuracy.mean():.1f} % after 5 steps" in picture.alt


def test_steps_have_readable_places(evaluations: dict[str, Evaluation]) -> None:
    scores = evaluations["maml"][5]
    picture = accuracy_curves({"m": dict.fromkeys((0, 1, 3, 5, 10, 50), scores)})
    assert isinstance(picture.image, Figure)
    (axes,) = picture.image.axes
    assert list(axes.get_xticks()) == [0, 1, 3, 5, 10, 50]
    places = axes.transData.transform([(step, 50) for step in (0, 1, 3, 5, 10, 50)])[:, 0]
    assert np.diff(places).min() > 0.05 * (places[-1] - places[0])
    crowded = accuracy_curves({"m": dict.fromkeys(range(100), scores)})
    assert isinstance(crowded.image, Figure)
    ticks = crowded.image.axes[0].get_xticks()
    assert (ticks[0], ticks[-1]) == (0, 99)
    assert len(ticks) < 20


def test_names_never_overlap(evaluations: dict[str, Evaluation]) -> None:
    picture = accuracy_curves({f"method {at}": evaluations["maml"] for at in range(12)})
    assert isinstance(picture.image, Figure)
    labels = [text for text in picture.image.axes[0].texts if text.get_text().startswith("method")]
    heights = sorted(text.get_position()[1] for text in labels)
    inches = picture.image.get_size_inches()[1] * picture.image.axes[0].get_position().height
    assert len(heights) == 12
    assert np.diff(heights).min() * inches * 72 > 9  # points, the size of the letters


def test_reliability_by_hand(evaluations: dict[str, Evaluation]) -> None:
    scores = evaluations["maml"][5]
    confidence, accuracy, share = reliability(scores)
    assert np.abs(accuracy - confidence) @ share == pytest.approx(scores.ece)
    assert share.sum() == pytest.approx(1)
    assert share @ accuracy == pytest.approx(scores.correct.mean())
    assert (confidence > 0.2).all()  # bins without predictions are left out, not drawn at 0


def test_calibration_curves_say_the_error(evaluations: dict[str, Evaluation]) -> None:
    said = " ".join(texts(calibration_curves(evaluations, {"maml": 1, "hypernet": 5, "protonet": 0})))
    for name, step, steps in (("maml", 1, "1 step"), ("hypernet", 5, "5 steps"), ("protonet", 0, "0 steps")):
        assert f"{name}, {steps}: ECE {100 * evaluations[name][step].ece:.1f} %" in said
    with pytest.raises(UsageError, match="step_of needs a step for 'hypernet'"):
        calibration_curves(evaluations, {"maml": 1})
    with pytest.raises(UsageError, match=r"'maml'.*one of \[0, 1, 5\]"):
        calibration_curves(evaluations, dict.fromkeys(evaluations, 3))


def test_one_method_one_step_one_episode(one: dict[str, Evaluation]) -> None:
    (name,) = one
    for picture in (accuracy_curves(one), calibration_curves(one)):
        svg = svg_of(picture)
        assert name in picture.alt
        assert "nan" not in "".join(v for e in svg.iter() for v in e.attrib.values()).lower()
        assert any(shorten(name, 20)[:8] in text for text in texts(picture))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ways", [2, 20])
def test_task_picture(make_task: Callable, ways: int, channels: int) -> None:
    support, query, probabilities = make_task(ways, channels)
    wrong = torch.roll(probabilities[0], 1)
    probabilities[0] = wrong
    names = [f"set/class {k}" for k in range(ways)]
    picture = task_picture(support, query, probabilities, names, queries=2)
    said = texts(picture)
    assert sum(text.startswith("✗") for text in said) == 1
    assert sum(text.startswith("✓") for text in said) == 2 * ways - 1
    assert f"✓ {100 * float(probabilities[-1].max()):.0f} %" in said
    images = list(svg_of(picture).iter("image"))
    assert len(images) == 2 * ways + 2 * ways
    total = 3 * ways
    assert picture.caption.startswith(f"{total - 1} of {total} query images are classified right")
    assert f"{2 * ways} of them are shown" in picture.caption
    assert all(name in picture.alt for name in names)
    # the first image is the first support image, pixel for pixel
    data = base64.b64decode("".join(images[0].attrib["href"].partition(",")[2].split()))
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    expected = (support.images[0, 0].expand(3, -1, -1).permute(1, 2, 0).numpy() * 255).round().astype(int)
    flipped = min(abs(pixels - expected).max(), abs(pixels[::-1] - expected).max())
    assert flipped <= 1


def test_task_picture_stretches_standardised_images_and_shrinks_large_ones(make_task: Callable) -> None:
    support, query, probabilities = make_task(2, 1)
    rng = torch.Generator().manual_seed(0)
    ramp = torch.linspace(-3, 5, 300).expand(1, 4, 1, 300, 300)
    support = Examples(ramp, support.targets)
    query = Examples(torch.rand(1, 6, 1, 300, 300, generator=rng), query.targets)
    images = list(svg_of(task_picture(support, query, probabilities, ["a", "b"])).iter("image"))
    data = base64.b64decode("".join(images[0].attrib["href"].partition(",")[2].split()))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (128, 128)
        shown = np.asarray(image.convert("L"), dtype=int)
    assert shown.min() < 3 < 252 < shown.max()
    assert (np.diff(shown[5]) > 0).all()


def test_task_picture_refuses(make_task: Callable) -> None:
    support, query, probabilities = make_task(2, 1)
    two = Examples(support.images.expand(2, -1, -1, -1, -1), support.targets.expand(2, -1))
    with pytest.raises(UsageError, match=r"one task.*got \[2, 4, 1, 12, 12\]"):
        task_picture(two, query, probabilities, ["a", "b"])
    with pytest.raises(UsageError, match=r"\[6, 2\], got \[5, 2\]"):
        task_picture(support, query, probabilities[:5], ["a", "b"])
    with pytest.raises(UsageError, match="1 class names, but class number 1 occurs"):
        task_picture(support, query, probabilities[:, :1], ["a"])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ways", [2, 20])
def test_weights_picture(make_weights: Callable[..., Weights], ways: int, channels: int) -> None:
    start, adapted = make_weights(ways, channels), make_weights(ways, channels, seed=1)
    names = [f"class {k}" for k in range(ways)]
    picture = weights_picture(start, adapted, names)
    said = texts(picture)
    for words in ("class rows", "FiLM scales − 1", "FiLM shifts", "kernels of blocks.0.conv"):
        assert said.count(words) == 1
        assert words in picture.alt
    assert (said.count("start"), said.count("adapted"), said.count("adapted − start")) == (4, 4, 4)
    assert said.count("class 0") == 3
    limit = max(float(start["rows"].abs().max()), float(adapted["rows"].abs().max()))
    assert said.count(f"±{limit:.2g}") >= 2
    alone = texts(weights_picture({"rows": start["rows"]}, None, names))
    assert "adapted" not in alone
    assert "FiLM shifts" not in alone
    assert alone.count("start") == 1


def test_panels_hold_the_weights(make_weights: Callable[..., Weights]) -> None:
    start, adapted = make_weights(3), make_weights(3, seed=1)
    rows, scales, shifts, kernels = panels_of(start, adapted, ["a", "b", "c"])
    assert np.array_equal(rows.images[0], start["rows"][0].numpy())
    assert np.allclose(rows.images[2], (adapted["rows"] - start["rows"])[0].numpy())
    assert rows.limits[2] == pytest.approx(float((adapted["rows"] - start["rows"]).abs().max()))
    assert np.allclose(scales.images[0][1], start["blocks.1.norm.scale"][0].numpy() - 1)
    assert np.allclose(scales.images[1][1], adapted["blocks.1.norm.scale"][0].numpy() - 1)
    assert np.isnan(shifts.images[0][0, 5:]).all()  # the shorter layer ends before the longer one
    assert np.array_equal(shifts.images[0][0, :5], start["blocks.0.norm.shift"][0].numpy())
    # five kernels in a grid of three columns: the second begins one gap after the first
    assert np.allclose(kernels.images[0][0:12:4, 13:25:4], start["blocks.0.conv.weight"][0, 1, 0].numpy())
    assert np.isnan(kernels.images[0][:, 12]).all()


def test_weights_that_are_all_zero_can_be_drawn() -> None:
    rows = {"rows": torch.zeros(1, 2, 4)}
    picture = weights_picture(rows, rows, ["a", "b"])
    assert texts(picture).count("a") == 3


def test_weights_picture_refuses(make_weights: Callable[..., Weights]) -> None:
    weights = make_weights(2)
    with pytest.raises(UsageError, match=r"no class rows under 'rows'; they have \['x'\]"):
        weights_picture({"x": weights["rows"]}, None, ["a", "b"])
    with pytest.raises(UsageError, match=r"\[1 3 R\] for 3 class names, got \[1, 2, 9\]"):
        weights_picture(weights, None, ["a", "b", "c"])
    with pytest.raises(UsageError, match=r"should hold 'blocks.0.conv.weight' .* but hold nothing"):
        weights_picture(weights, {"rows": weights["rows"]}, ["a", "b"])


def test_the_users_settings_stay(evaluations: dict[str, Evaluation]) -> None:
    with mpl.rc_context({"font.size": 33.0, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        svg_of(accuracy_curves(evaluations))
        assert dict(mpl.rcParams) == before


def test_names_are_shortened_readably() -> None:
    assert shorten("short", 5) == "short"
    assert shorten("a very long name", 9) == "a ve…name"
    assert shorten("two\nlines", 20) == "two lines"
    assert two_lines("capital letter ayb", 14) == "capital\nletter ayb"
    assert two_lines("plain", 14) == "plain"
    assert leaves(["Greek/alpha", "Greek/beta"]) == ["alpha", "beta"]
    assert leaves(["Greek/o", "Latin/o"]) == ["Greek/o", "Latin/o"]


def said_outside(figure: Figure) -> list[str]:
    """Texts that a figure's edge cuts off."""
    FigureCanvasAgg(figure).draw()
    width, height = figure.get_size_inches() * figure.dpi
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    places = [text for text, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True) if low <= at <= high]
    written = [*places, axes.yaxis.label, *axes.get_legend().get_texts()]
    boxes = {text.get_text(): text.get_window_extent() for text in written}
    return [said for said, box in boxes.items() if min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height]


def test_pictures_of_scenarios_cut_no_name_off() -> None:
    names = [f"turn{turn}-slant30-bold-negative" for turn in range(0, 360, 45)]
    none = {name: np.zeros(2) for name in names}
    picture = domain_bars({row: DomainScores(none, none, dict.fromkeys(names, 0.0), 1.0) for row in ("erm", "film")})
    assert isinstance(picture.image, Figure)
    assert not said_outside(picture.image)
    assert picture.image.axes[0].get_ylim() == (0, 1), "an accuracy is never below zero"
    scores = IncrementalScores(np.full((2, 4), 0.5), np.zeros((2, 4, 4)), np.ones((2, 3)), 1.0, 0, np.zeros((2, 1, 2)))
    curves = session_curves(dict.fromkeys(("hypernet", "class means on hypernet's features"), scores))
    assert isinstance(curves.image, Figure)
    assert not said_outside(curves.image)
    assert all(float(place).is_integer() for place in curves.image.axes[0].get_xticks()), "sessions are whole"
