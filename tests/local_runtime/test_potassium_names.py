"""Potassium's names on this runtime, without its server: what each takes and refuses."""

from __future__ import annotations

import asyncio
import inspect
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from local_runtime import Batch
from local_runtime import Request as RuntimeRequest
from local_runtime.potassium import (
    Potassium,
    RedisConfig,
    Request,
    RequestHeaders,
    Response,
    Store,
    name_of,
    send_webhook,
)
from tests.local_runtime.server.live_runtime import PROGRAMS, LiveRuntime

APP = PROGRAMS / "potassium_app.py"


def answer_of(app: Potassium, route: str, json: Any = None, **headers: str) -> Any:
    function = app.handlers[route].function
    return function({}, RuntimeRequest(json=json, id="r1", headers=headers))


def test_a_handler_is_recorded_and_stays_a_plain_function() -> None:
    app = Potassium("app")

    @app.handler("no-slash")
    def handler(context: Any, request: Request) -> Response:
        return Response(json={"id": request.id, "x": request.headers.get("X-Y", "none")})

    request = Request("r2", RequestHeaders({}), None)
    assert handler({}, request).json == {"id": "r2", "x": "none"}
    answer = answer_of(app, "/no-slash", **{"x-y": "z"})
    assert answer.body == b'{"id": "r1", "x": "z"}'
    assert answer.headers == {"Content-Type": "application/json"}


async def test_an_async_handler_is_converted_too() -> None:
    app = Potassium("app")

    @app.handler()
    async def handler(context: Any, request: Request) -> Response:
        return Response(json=request.json)

    answer = answer_of(app, "/", [1])
    assert inspect.isawaitable(answer)
    assert (await answer).body == b"[1]"


def test_an_app_runs_in_one_thread_which_is_not_the_callers() -> None:
    """What ``init`` makes may belong to the thread that made it."""
    app, here = Potassium("app"), threading.get_ident()

    @app.init
    def init() -> dict[str, int]:
        return {"thread": threading.get_ident()}

    @app.handler("/plain")
    def plain(context: Any, request: Request) -> Response:
        def pieces() -> Generator[bytes, None, None]:
            yield b"%d" % threading.get_ident()

        return Response(body=pieces())

    @app.handler("/async")
    async def later(context: Any, request: Request) -> Response:
        return Response(json=threading.get_ident())

    assert app.init_function is not None
    made = app.init_function()["thread"]
    assert made != here
    assert [int(piece) for piece in answer_of(app, "/plain").body] == [made]
    assert int(asyncio.run(answer_of(app, "/async")).body) == made


def test_a_plain_handler_runs_between_the_steps_of_those_that_are_async() -> None:
    """It may run a loop of its own, and then theirs goes on."""
    app, order = Potassium("app"), list[str]()
    begun, free = threading.Event(), asyncio.Event()

    @app.handler("/async")
    async def later(context: Any, request: Request) -> Response:
        order.append("async")
        begun.set()
        await free.wait()
        order.append("async again")
        return Response()

    @app.handler("/plain")
    def plain(context: Any, request: Request) -> Response:
        order.append("plain")
        asyncio.run(asyncio.sleep(0))
        free.set()
        return Response()

    async def both() -> None:
        first = asyncio.ensure_future(answer_of(app, "/async"))
        await asyncio.to_thread(begun.wait)
        answer_of(app, "/plain")
        await first

    asyncio.run(both())
    assert order == ["async", "plain", "async again"]


def test_what_a_handler_sets_in_its_context_its_generator_finds_and_no_other_call() -> None:
    app, name = Potassium("app"), ContextVar("name", default="nobody")

    @app.handler("/")
    def handler(context: Any, request: Request) -> Response:
        def pieces() -> Generator[bytes, None, None]:
            yield name.get().encode()

        before = name.get()
        name.set("caller")
        return Response(body=pieces(), headers={"Before": before})

    answers = [answer_of(app, "/") for _ in range(2)]
    assert [answer.headers["Before"] for answer in answers] == ["nobody", "nobody"]
    assert [b"".join(answer.body) for answer in answers] == [b"caller", b"caller"]


async def test_an_async_handler_that_is_cancelled_hears_of_it() -> None:
    app, heard = Potassium("app"), threading.Event()
    begun = threading.Event()

    @app.handler()
    async def handler(context: Any, request: Request) -> Response:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            heard.set()
        return Response()

    call = asyncio.ensure_future(answer_of(app, "/"))
    await asyncio.to_thread(begun.wait)
    call.cancel()
    assert await asyncio.to_thread(heard.wait, 20)
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, BaseException])
def test_what_a_handler_raises_reaches_the_runtime_and_its_thread_goes_on(
    error: type[BaseException],
) -> None:
    app, failures = Potassium("app"), [error(), error()]

    @app.handler("/plain")
    def plain(context: Any, request: Request) -> Response:
        if failures:
            raise failures.pop()
        return Response(json=1)

    @app.handler("/async")
    async def later(context: Any, request: Request) -> Response:
        return plain(context, request)

    async def caught() -> BaseException | None:
        try:
            await answer_of(app, "/async")
        except BaseException as found:
            return found
        return None

    with pytest.raises(error):
        answer_of(app, "/plain")
    assert isinstance(asyncio.run(caught()), error)
    assert answer_of(app, "/plain").body == b"1"


def test_an_init_that_takes_an_argument_is_given_the_number_of_its_worker() -> None:
    app = Potassium("app")

    @app.init
    def init(number: int) -> dict[str, int]:
        return {"number": number}

    assert app.init_function is not None
    assert app.init_function() == {"number": 0}


def test_a_body_that_is_text_is_refused_as_in_potassium() -> None:
    app = Potassium("app")

    @app.handler()
    def handler(context: Any, request: Request) -> Response:
        return Response(body="text")  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="bytes, not a str"):
        answer_of(app, "/")


def test_a_batch_is_not_potassiums() -> None:
    with pytest.raises(ValueError, match="one request"):
        Potassium("app").handler(batch=Batch())


def test_a_response_is_json_or_a_body() -> None:
    with pytest.raises(ValueError, match="not both"):
        Response(json={}, body=b"x")
    response = Response(body=b"\xff")
    assert response.json is None
    response.json = [1]
    assert response.body == b"[1]"


def test_an_app_that_is_no_global_of_a_file_cannot_serve_itself() -> None:
    with pytest.raises(RuntimeError, match="global variable"):
        name_of(Potassium("hidden"), sys.modules[__name__])


def test_serve_does_nothing_in_a_worker(tmp_path: Path) -> None:
    """A file that serves without a guard is imported by its own workers."""
    file = tmp_path / "unguarded.py"
    file.write_text(APP.read_text().replace('if __name__ == "__main__":', "if True:"))
    done = subprocess.run(
        [sys.executable, str(file)],
        env={"SPILLGATE_WORKER": "0", "PYTHONPATH": str(PROGRAMS.parents[1])},
        timeout=20,
    )
    assert done.returncode == 0


def test_a_webhook_goes_out_by_post_and_says_whether_it_arrived() -> None:
    """In one thread: the kernel takes the connection, and its answer waits for it to be read."""
    with pytest.raises(ValueError, match="http or https"):
        send_webhook("file:///etc/passwd", {})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        program = (
            "import sys; from local_runtime.potassium import send_webhook;"
            f"sys.exit(not send_webhook({url!r}, {{'n': 1}}))"
        )
        live = LiveRuntime("", command=[sys.executable, "-c", program]).start()
        receiver, _ = listener.accept()
        with receiver:
            assert receiver.recv(65536).startswith(b"POST / HTTP/1.1\r\n")
            receiver.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert live.wait() == 0


def test_a_store_wants_the_config_of_its_backend() -> None:
    assert Store().get("nothing") is None
    with pytest.raises(ValueError, match="RedisConfig"):
        Store(backend="redis")
    with pytest.raises(ValueError, match="redis or memory"):
        Store(backend="s3")
    with pytest.raises(ValueError, match="json or pickle"):
        RedisConfig(host="localhost", port=1, encoding="yaml")
    config = RedisConfig(host="h", port=1, username="u", password="p@/", db=2)
    assert config.url == "redis://u:p%40%2F@h:1/2"
