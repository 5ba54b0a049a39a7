"""An app inside another platform's process: real workers, called from threads and from loops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from local_runtime.app.request import InvalidInput
from local_runtime.hosted import CallFailed, Hosted, NotStarted
from tests.adapters.local.backends import alive
from tests.local_runtime.server.live_runtime import PROGRAMS
from tests.waiting import wait_until

PICTURE = "data:image/png;base64,iVBOR/8="
TUNE = "data:audio/wav;base64,"


@pytest.fixture(scope="module")
def app() -> Iterator[Hosted]:
    hosted = Hosted(f"{PROGRAMS / 'echo.py'}:app")
    yield hosted
    hosted.close()


def test_a_call_has_the_handlers_result(app: Hosted) -> None:
    answer = app.call("/", {"any": ["json", 1]}, id="mine")
    assert (answer["echo"], answer["id"]) == ({"any": ["json", 1]}, "mine")


async def test_a_loop_of_the_platform_is_not_held_up_by_a_call(app: Hosted) -> None:
    answers = await asyncio.gather(app.acall("/sleep", 0.01), app.acall("/sleep", 0))
    assert [answer["slept"] for answer in answers] == [0.01, 0]


def test_calls_of_several_threads_share_a_batch(app: Hosted) -> None:
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda n: app.call("/batch", n), range(4)))
    assert [answer["double"] for answer in answers] == [0, 2, 4, 6]
    assert max(answer["batch"] for answer in answers) > 1


def test_a_generator_is_pieces_or_a_list(app: Hosted) -> None:
    assert [item["number"] for item in app.pieces("/count", {"to": 3})] == [0, 1, 2]
    assert [item["number"] for item in app.call("/count", {"to": 2})] == [0, 1]


async def test_pieces_reach_a_loop_of_the_platform(app: Hosted) -> None:
    assert [item["number"] async for item in app.apieces("/count", {"to": 3})] == [0, 1, 2]


def test_a_whole_result_is_one_piece(app: Hosted) -> None:
    assert list(app.pieces("/sleep", 0)) == [{"slept": 0}]


def test_pieces_that_nobody_wants_end_the_generator(app: Hosted) -> None:
    """Else its place would be taken for ever: /count runs four at a time."""
    for _ in range(8):
        pieces = app.pieces("/count", {"to": 10**9})
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
    assert len(list(app.pieces("/count", {"to": 1}))) == 1


def test_a_refusal_is_one_and_a_failure_names_no_secret(app: Hosted) -> None:
    with pytest.raises(InvalidInput) as refused:
        app.call("/refuse", 1)
    assert refused.value.param == "text"
    for call in (lambda: app.call("/fail", 1), lambda: list(app.pieces("/count", {}))):
        with pytest.raises(CallFailed) as failed:
            call()
        assert (failed.value.kind, "secret" in str(failed.value)) == ("failed", False)


@pytest.fixture(scope="module")
def bodies() -> Iterator[Hosted]:
    hosted = Hosted(f"{PROGRAMS / 'bodies.py'}:app")
    yield hosted
    hosted.close()


@pytest.mark.parametrize(
    ("route", "whole", "pieces"),
    [
        ("/picture", PICTURE, [PICTURE]),
        ("/number", "123", ["123"]),
        ("/tune", f"{TUNE}/wAxMg==", [f"{TUNE}/wA=", f"{TUNE}MTI="]),
        ("/poem", "été", ["ét", "é"]),
    ],
)
def test_bytes_survive_a_platform_whose_answers_are_json(
    bodies: Hosted, route: str, whole: str, pieces: list[str]
) -> None:
    """Text as text, whatever else as a data URL."""
    assert bodies.call(route, {}) == whole
    assert list(bodies.pieces(route, {})) == pieces


def test_a_call_without_an_id_is_given_one(bodies: Hosted) -> None:
    ids = {bodies.call("/", {})["id"] for _ in range(2)}
    assert len(ids) == 2
    assert "" not in ids


def test_a_background_handler_is_waited_for(bodies: Hosted) -> None:
    """The platform's job is the background already."""
    assert bodies.call("/later", {}) == {"pages": 3}


def test_a_call_waits_while_a_dead_worker_is_started_again(bodies: Hosted) -> None:
    """A platform would else hand over all that it has, and see each call fail."""
    with pytest.raises(CallFailed) as failed:
        bodies.call("/die", {})
    assert failed.value.kind == "died"
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda n: bodies.call("/", n), range(4)))
    assert [answer["echo"] for answer in answers] == [0, 1, 2, 3]


def test_an_app_that_is_not_there_says_so() -> None:
    with pytest.raises(NotStarted, match="nobody"):
        Hosted(f"{PROGRAMS / 'echo.py'}:nobody")


def test_an_app_that_loads_too_long_is_given_up() -> None:
    with pytest.raises(NotStarted, match="not ready within"):
        Hosted(f"{PROGRAMS / 'broken/hang_in_init.py'}:app", start_timeout_s=1.0)


def test_closing_it_ends_its_workers() -> None:
    hosted = Hosted(f"{PROGRAMS / 'echo.py'}:app")
    pid = hosted.call("/", 1)["pid"]
    hosted.close()
    wait_until(lambda: not alive(pid))
