"""The framed sockets of an app's own workers, for callers that want them: ``--sockets``."""

from __future__ import annotations

import asyncio
import stat
from functools import partial
from pathlib import Path

import pytest

from local_runtime.__main__ import main
from local_runtime.events import Done
from local_runtime.gate import dial
from local_runtime.link import Link
from local_runtime.wire import MAX_FRAME
from tests.local_runtime.live_runtime import LiveRuntime
from tests.waiting import until


async def called(path: Path, route: str, body: bytes) -> Done:
    """What a worker says of one call, by its socket."""
    link = Link("own", lambda link: None, MAX_FRAME)
    await dial(str(path), partial(getattr, link, "connection"))
    await until(lambda: bool(link.slots), "the worker has said what it serves")
    entry = link.run("c1", route, body, False, float("inf"))
    await until(lambda: entry.answer is not None, "the call is answered")
    link.connection.close()
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


def test_a_folder_that_others_may_enter_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(SystemExit, match="2"):
        main(["tests/programs/echo.py:app", "--sockets", str(tmp_path)])
    assert "must belong to this user alone" in capsys.readouterr().err


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    (folder / "keep.txt").touch()
    with pytest.raises(SystemExit, match="2"):
        main(["tests/programs/echo.py:app", "--sockets", str(folder)])
    assert "holds other files" in capsys.readouterr().err
    assert (folder / "keep.txt").exists()
