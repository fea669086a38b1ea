"""Classes, images and visitors, without any web."""

from __future__ import annotations

import asyncio

import pytest
from serve_helpers import png, toy_backend

from genmeta.core.errors import UsageError
from genmeta.serve.adapting import Backend
from genmeta.serve.board import Board
from genmeta.serve.images import Picture, read_picture
from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal
from genmeta.serve.sessions import Sessions

PICTURE = read_picture(png(), Limits())


def picture_of(shade: int) -> Picture:
    return read_picture(png((shade, 0, 0)), Limits())


def test_a_picture_is_in_one_class_once() -> None:
    board = Board(Limits())
    one, two = board.add_class("a"), board.add_class("b")
    board.add_picture(one.id, PICTURE)
    with pytest.raises(Refusal, match="already in this class"):
        board.add_picture(one.id, PICTURE)
    with pytest.raises(Refusal, match="already in “a”, and can be in one class only"):
        board.add_picture(two.id, PICTURE)
    board.add_picture(two.id, picture_of(1))


def test_classes_get_names_of_their_own() -> None:
    board = Board(Limits())
    assert [board.add_class("").name for _ in range(2)] == ["Class 1", "Class 2"]
    assert board.add_class("  Red \n  kite ").name == "Red kite"
    with pytest.raises(Refusal, match="already a class called “red KITE”"):
        board.add_class("red KITE")
    with pytest.raises(Refusal, match="60 characters, this one has 61"):
        board.add_class("x" * 61)
    with pytest.raises(Refusal, match="printable"):
        board.add_class("a\x07b")
    first = next(iter(board.classes))
    assert board.rename(first, "Buzzard").name == "Buzzard"
    assert board.rename(first, "").name == "Class 1"


def test_every_change_is_a_revision() -> None:
    board = Board(Limits())
    seen = [board.revision]
    one = board.add_class("a")
    seen.append(board.revision)
    image = board.add_picture(one.id, PICTURE)
    seen.append(board.revision)
    board.rename(one.id, "b")
    seen.append(board.revision)
    board.remove_picture(image)
    seen.append(board.revision)
    board.remove_class(one.id)
    seen.append(board.revision)
    assert seen == sorted(set(seen))
    assert board.size == 0
    unchanged = board.add_class("c")
    before = board.revision
    board.rename(unchanged.id, "c")
    assert board.revision == before


def test_what_is_gone_is_said_to_be_gone() -> None:
    board = Board(Limits())
    with pytest.raises(Refusal, match="class is no longer there"):
        board.remove_class(7)
    with pytest.raises(Refusal, match="image is no longer there") as refused:
        board.remove_picture(7)
    assert refused.value.status == 404


def test_limits_of_a_board() -> None:
    board = Board(Limits(classes=1, images=1))
    one = board.add_class("a")
    with pytest.raises(Refusal, match="room for 1 classes"):
        board.add_class("b")
    board.add_picture(one.id, PICTURE)
    with pytest.raises(Refusal, match="“a” holds 1 images"):
        board.add_picture(one.id, PICTURE)
    board = Board(Limits(pictures=1))
    one, two = board.add_class("a"), board.add_class("b")
    board.add_picture(one.id, PICTURE)
    with pytest.raises(Refusal, match="room for 1 images in all"):
        board.add_picture(two.id, picture_of(1))
    with pytest.raises(UsageError, match="limit upload_mb must be above zero, got 0"):
        Limits(upload_mb=0)


def test_learning_needs_two_classes_with_images() -> None:
    board = Board(Limits())
    backend = toy_backend()
    one, two = board.add_class("a"), board.add_class("b")
    board.add_picture(one.id, PICTURE)
    with pytest.raises(Refusal, match="at least two classes with an image each"):
        backend.adaptation(board, "photos", quick=True)
    board.add_picture(two.id, picture_of(1))
    board.add_class("c")
    with pytest.raises(Refusal, match="“c” has no image yet"):
        backend.adaptation(board, "photos", quick=True)


def test_a_backend_offers_what_it_has() -> None:
    assert toy_backend().check("characters") == "characters"
    for name in ("/etc/passwd", "", None, 3, ["photos"]):
        with pytest.raises(Refusal, match="no such kind of pictures"):
            toy_backend().check(name)
    with pytest.raises(UsageError, match="at least one checkpoint"):
        Backend((), lambda name, quick: None)  # type: ignore[arg-type, return-value]


def test_what_adaptation_says_of_itself() -> None:
    board = Board(Limits())
    red, blue = board.add_class("red"), board.add_class("blue")
    for shade in (250, 240):
        board.add_picture(red.id, read_picture(png((shade, 0, 0)), Limits()))
        board.add_picture(blue.id, read_picture(png((0, 0, shade)), Limits()))
    wrong = board.add_picture(red.id, read_picture(png((10, 0, 240)), Limits()))
    adapted = toy_backend().adaptation(board, "photos", quick=True)()
    said = adapted.as_json(board, "photos")
    assert said["doubts"] == [{"image": wrong, "looks_like": "blue"}]
    assert said["estimate"] == {"right": 4, "of": 5}
    assert said["trace"] == [{"step": 0, "accuracy": 0.5}, {"step": 1, "accuracy": 0.5}]
    assert not said["stale"]
    assert adapted.as_json(board, "characters")["stale"]
    board.rename(red.id, "crimson")
    assert adapted.as_json(board, "photos")["stale"]
    answer = adapted.predict(read_picture(png((0, 0, 250)), Limits()))["answers"]
    assert [row["name"] for row in answer] == ["blue", "red"]
    assert sum(row["probability"] for row in answer) == pytest.approx(1)
    assert adapted.as_file() == b"blue,red"  # without the images


def test_one_image_a_class_leaves_nothing_to_check_with() -> None:
    board = Board(Limits())
    for shade, name in enumerate("ab"):
        board.add_picture(board.add_class(name).id, picture_of(shade))
    said = toy_backend().adaptation(board, "photos", quick=True)().as_json(board, "photos")
    assert (said["estimate"], said["doubts"], said["trace"]) == (None, [], [])


def test_silent_visitors_are_forgotten() -> None:
    now = [0.0]
    sessions = Sessions(Limits(sessions=2, idle_minutes=1, memory_mb=0.01), clock=lambda: now[0])
    first, second = sessions.open("photos"), sessions.open("photos")
    assert first.token != second.token
    assert min(len(first.token), len(second.token)) >= 32
    with pytest.raises(Refusal, match="Too many people") as refused:
        sessions.open("photos")
    assert refused.value.status == 503
    now[0] = 50
    assert sessions.find(second.token) is second
    now[0] = 70
    with pytest.raises(Refusal, match="has ended") as refused:
        sessions.find(first.token)
    assert refused.value.status == 410
    for token in (None, "", "x", first.token):
        with pytest.raises(Refusal, match="has ended"):
            sessions.find(token)
    sessions.check_memory(9_000)
    second.board.add_picture(second.board.add_class("a").id, PICTURE)
    with pytest.raises(Refusal, match="no room for more images"):
        sessions.check_memory(9_000)
    sessions.close_all()
    assert len(sessions) == 0


def test_one_at_a_time_first_come_first_served() -> None:
    from genmeta.serve.work import Lane

    async def scene() -> None:
        lane, order, gate = Lane("test", 1, 2), [], asyncio.Event()
        loop = asyncio.get_running_loop()

        def work(name: str) -> str:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            return name

        tickets = [lane.submit(lambda name=name: work(name), order.append) for name in "abc"]  # type: ignore[misc]
        await asyncio.sleep(0.05)
        assert [ticket.state for ticket in tickets] == ["running", "waiting", "waiting"]
        assert [lane.ahead(ticket) for ticket in tickets] == [0, 1, 2]
        with pytest.raises(Refusal, match="Too many people are waiting"):
            lane.submit(lambda: "d", order.append)
        with pytest.raises(Refusal, match="Too many people are waiting"):
            await lane.call(lambda: "d")
        tickets[1].cancel()
        gate.set()
        for ticket in tickets:
            assert ticket.task is not None
            await asyncio.wait([ticket.task])
        assert order == ["a", "c"]
        assert [ticket.state for ticket in tickets] == ["done", "failed", "done"]
        assert await lane.call(lambda: "e") == "e"
        lane.close()

    asyncio.run(scene())


def test_failures_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    from genmeta.serve.work import Lane

    def foreseen() -> None:
        raise UsageError("Too blurred.")

    def unforeseen() -> None:
        raise ZeroDivisionError("secret detail")

    async def scene() -> list[str]:
        lane = Lane("test", 1, 9)
        tickets = [lane.submit(work, lambda _: None) for work in (foreseen, unforeseen)]
        for ticket in tickets:
            assert ticket.task is not None
            await asyncio.wait([ticket.task])
        lane.close()
        return [ticket.error for ticket in tickets]

    said = asyncio.run(scene())
    assert said[0] == "Too blurred."
    assert "secret" not in said[1]
    assert "should not have" in said[1]
    assert "secret detail" in caplog.text
