"""The framed sockets of an app's own workers, for callers that want them: ``--sockets``."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import stat
from pathlib import Path

import pytest

from local_runtime.__main__ import main
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.pending_call import Unanswered
from local_runtime.protocol.events import Done
from local_runtime.protocol.sockets import dial
from local_runtime.protocol.wire import MAX_FRAME
from tests.adapters.local.backends import alive, parent_of
from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import until, wait_until


async def connected(path: Path) -> WorkerConnection:
    link = WorkerConnection("own", lambda link: None, MAX_FRAME)
    await dial(str(path), lambda: link.socket)
    await until(lambda: bool(link.slots), "the worker has said what it serves")
    return link


async def called(path: Path, route: str, body: bytes) -> Done:
    """What a worker says of one call, by its socket."""
    link = await connected(path)
    entry = link.run("c1", route, body, False, float("inf"))
    await until(lambda: entry.answer is not None, "the call is answered")
    link.socket.close()
    assert isinstance(entry.answer, Done)
    return entry.answer


async def test_a_worker_is_called_by_its_own_socket_beside_http(tmp_path: Path) -> None:
    """In a folder that nobody else may enter, and that is gone in the end."""
    folder = tmp_path / "sockets"
    with LiveRuntime("echo.py:app", "--sockets", str(folder)) as runtime:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        answer = await called(folder / "worker-0.sock", "/", b'{"hello": 1}')
        with runtime.client as client:
            headers = {"X-Banana-Request-Id": "c1"}
            by_http = await asyncio.to_thread(client.post, "/", json={"hello": 1}, headers=headers)
    assert (answer.ok, answer.data) == (True, by_http.content)
    assert not folder.exists()


async def test_a_server_that_was_killed_lets_the_next_have_its_folder_once_it_is_free(
    tmp_path: Path,
) -> None:
    """Its supervisor lets a call under way end, and takes the folder away: before the next begins,
    not under its feet."""
    folder, began = tmp_path / "sockets", tmp_path / "began"
    with LiveRuntime("hold.py:app", "--sockets", str(folder)) as first:
        link = await connected(folder / "worker-0.sock")
        entry = link.run("c1", "/", json.dumps({"hold": str(began)}).encode(), False, math.inf)
        await until(began.exists, "the call runs")
        (old,) = first.workers()
        assert first.process is not None
        first.process.kill()
        with LiveRuntime("hold.py:app", "--sockets", str(folder)).started() as second:
            await asyncio.to_thread(wait_until, lambda: second.answers("/readyz"))
            assert not alive(old)
            assert isinstance(entry.answer, Unanswered)
            answer = await called(folder / "worker-0.sock", "/", b"{}")
            assert answer.ok
            assert json.loads(answer.data)["pid"] in second.workers()
        first.wait()
    assert not folder.exists()


async def test_what_servers_and_supervisors_that_were_killed_have_left_is_cleared_away(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "sockets"
    with LiveRuntime("echo.py:app", "--sockets", str(folder)) as first:
        (worker,) = first.workers()
        assert first.process is not None
        family = (first.process.pid, parent_of(worker), worker)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)  # so that none can tidy up when another is gone
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        first.wait()
    assert (folder / "worker-0.sock").exists()
    with LiveRuntime("echo.py:app", "--sockets", str(folder)):
        assert (await called(folder / "worker-0.sock", "/", b"1")).ok


async def test_a_second_server_does_not_take_the_folder_of_one_that_runs(tmp_path: Path) -> None:
    """It waits for a while, since the first may be on its way out, says so and gives up."""
    folder = tmp_path / "sockets"
    with LiveRuntime("echo.py:app", "--sockets", str(folder)) as first:
        with LiveRuntime("echo.py:app", "--sockets", str(folder)).started() as second:
            assert await asyncio.to_thread(second.wait, 30.0) == 2
        assert "in use by another server" in second.printed
        assert first.answers("/readyz")
        assert (await called(folder / "worker-0.sock", "/", b"1")).ok


def test_a_folder_that_others_may_enter_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    assert main(["tests/programs/echo.py:app", "--sockets", str(tmp_path)]) == 2
    assert "must belong to this user alone" in capsys.readouterr().err


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    (folder / "keep.txt").touch()
    assert main(["tests/programs/echo.py:app", "--sockets", str(folder)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert (folder / "keep.txt").exists()
