"""A Potassium app, its import line changed, as its users know it: by Banana's own client."""

from __future__ import annotations

import asyncio
import inspect
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import banana_dev
import httpx
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
from tests.adapters.local.backends import call, running
from tests.local_runtime.server.live_runtime import PROGRAMS, LiveRuntime

APP = PROGRAMS / "potassium_app.py"


@pytest.fixture(scope="module")
def served() -> Iterator[LiveRuntime]:
    """Started as Potassium apps are: by running the file."""
    with LiveRuntime("", command=[sys.executable, str(APP)]) as live:
        yield live


@pytest.fixture
def banana(served: LiveRuntime) -> banana_dev.Client:
    return banana_dev.Client(api_key="a-key", url=served.url)


def test_bananas_client_is_answered_with_the_json_and_the_headers(
    banana: banana_dev.Client,
) -> None:
    """Its key and its request id reach the handler."""
    answer, meta = banana.call("/", {"text": "drawer"})
    assert answer["reversed"] == "reward"
    assert answer["key"] == "a-key"
    assert answer["id"] == meta["headers"]["X-Banana-Request-Id"]


def test_bananas_client_can_warm_the_app_up(banana: banana_dev.Client) -> None:
    assert banana.warmup()[0] == {"warm": True}


def test_a_status_of_the_handlers_choice_is_the_status(
    served: LiveRuntime, banana: banana_dev.Client
) -> None:
    with pytest.raises(Exception, match="teapot"):
        banana.call("/teapot", {})
    answer = httpx.post(f"{served.url}/teapot", json={}, trust_env=False)
    assert (answer.status_code, answer.json()) == (418, {"short": "stout"})
    assert answer.headers["X-Spout"] == "left"


@pytest.mark.parametrize("route", ["/untyped", "/pieces"])
@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none_and_the_connection_goes_on(
    served: LiveRuntime, route: str, status: int
) -> None:
    """What followed the head would be read as the next answer."""
    with served.client as client:
        answer = client.post(route, json={"status": status})
        assert (answer.status_code, answer.content) == (status, b"")
        assert "content-length" not in answer.headers
        assert client.post(route, json={"status": 200}).content in (b"<p>hi</p>", b"012")


@pytest.mark.parametrize("route", ["/untyped", "/pieces"])
@pytest.mark.parametrize("status", [100, 600])
def test_a_status_that_is_none_is_a_failure_of_the_handler(
    served: LiveRuntime, route: str, status: int
) -> None:
    with served.client as client:
        answer = client.post(route, json={"status": status})
    assert answer.status_code == 500
    assert "ValueError" in answer.json()["error"]["message"]


def test_a_body_without_a_type_is_a_page_as_in_potassium(served: LiveRuntime) -> None:
    with served.client as client:
        answer = client.post("/untyped", json={"status": 200})
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("route", "text"), [("/nested", "c"), ("/nested/stream", "ab")])
def test_a_handler_may_run_an_event_loop_of_its_own(
    served: LiveRuntime, route: str, text: str
) -> None:
    """So may ``init``, and what comes after it finds the runtime's loop where it was."""
    with served.client as client:
        for _ in range(2):
            assert client.post(route, json={}).text == text


@pytest.mark.parametrize("route", ["/broken", "/wrong"])
def test_a_handler_that_fails_shows_no_traceback(banana: banana_dev.Client, route: str) -> None:
    with pytest.raises(Exception, match="the model's handler failed") as caught:
        banana.call(route, {})
    assert "Traceback" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_body_of_bytes_comes_as_it_is(served: LiveRuntime) -> None:
    answer = httpx.post(f"{served.url}/plain", json={}, trust_env=False)
    assert answer.content == b"\x00\xffplain"
    assert answer.headers["Content-Type"] == "application/x-plain"


def test_a_body_from_a_generator_comes_in_pieces(served: LiveRuntime) -> None:
    answer = httpx.post(f"{served.url}/stream", json={"pieces": 3}, trust_env=False)
    assert answer.text == "0,1,2,"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Type"] == "text/plain"


def test_a_generator_that_fails_breaks_its_answer_off_and_frees_its_place(
    served: LiveRuntime,
) -> None:
    """Nobody hangs, and nobody takes a part for the whole."""
    body = {"pieces": 3, "fail_at": 2}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{served.url}/stream", json=body, trust_env=False)
    status = httpx.get(f"{served.url}/_k/status", trust_env=False).json()
    assert status["gpu_available"]
    assert status["inference_time"] == 0


async def test_a_gateway_takes_the_app_too_and_passes_on_its_content_type() -> None:
    """The same worker, by the same socket."""
    async with running("potassium_app.py", handler="/plain") as backend:
        reply = await backend.invoke(call({}))
    assert (reply.body, reply.content_type) == (b"\x00\xffplain", "application/x-plain")


# --- the names, without a process -----------------------------------------------------------------


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
