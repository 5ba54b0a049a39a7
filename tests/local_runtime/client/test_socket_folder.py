"""Who may put sockets into a folder, and what becomes of those that were left there."""

from __future__ import annotations

import asyncio
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import FakeClock, settle
from local_runtime.client.socket_folder import InUse, locked, wait_until_free


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "s"


def left_behind(folder: Path, name: str) -> Path:
    """The socket of a process that was killed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / name))
        listener.listen()
    return folder / name


def test_a_folder_is_made_for_this_user_alone(folder: Path) -> None:
    with locked(str(folder)) as (path, _):
        assert path == str(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_sockets_at_which_nobody_listens_are_removed(folder: Path) -> None:
    left = [left_behind(folder, name) for name in ("worker-0.sock", "worker-12.sock")]
    with locked(str(folder)):
        assert [path.exists() for path in left] == [False, False]


def test_a_socket_at_which_somebody_listens_is_left_alone_with_all_others(folder: Path) -> None:
    left = left_behind(folder, "worker-0.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "worker-1.sock"))
        listener.listen()
        with (
            pytest.raises(InUse, match=r"a worker that runs listens at .*/worker-1\.sock"),
            locked(str(folder)),
        ):
            pass
    assert left.exists()


@pytest.mark.parametrize("name", ["keep.txt", "worker-0.sock", "worker-01.sock"])
def test_what_is_no_workers_socket_is_never_removed(folder: Path, name: str) -> None:
    """A file is none, whatever its name."""
    left = left_behind(folder, "worker-7.sock")
    (folder / name).touch()
    with pytest.raises(OSError, match=f"holds other files, such as {name}"), locked(str(folder)):
        pass
    assert (folder / name).exists()
    assert left.exists()


def test_a_link_to_a_socket_is_none(folder: Path, tmp_path: Path) -> None:
    elsewhere = left_behind(tmp_path / "other", "worker-0.sock")
    folder.mkdir(mode=0o700, parents=True)
    (folder / "worker-0.sock").symlink_to(elsewhere)
    with pytest.raises(OSError, match="holds other files"), locked(str(folder)):
        pass
    assert elsewhere.exists()


def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o750)
    with (
        pytest.raises(OSError, match=r"must belong to this user alone: .* mode 0750"),
        locked(str(folder)),
    ):
        pass


def test_a_path_that_leaves_no_room_for_a_sockets_name_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with pytest.raises(OSError, match="too long a path for a Unix socket"), locked(str(folder)):
        pass


def test_a_folder_has_one_holder_at_a_time(folder: Path) -> None:
    with (
        locked(str(folder)),
        pytest.raises(InUse, match="in use by another server"),
        locked(str(folder)),
    ):
        pass
    with locked(str(folder)):
        pass


def test_a_folder_that_its_holder_takes_away_is_made_anew_for_the_next(folder: Path) -> None:
    with locked(str(folder)):
        shutil.rmtree(folder)
        with locked(str(folder)):
            assert folder.is_dir()


def test_a_process_that_was_handed_the_lock_holds_it_when_its_parent_is_gone(folder: Path) -> None:
    with locked(str(folder)) as (_, lock):
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    try:
        with pytest.raises(InUse), locked(str(folder)):
            pass
    finally:
        child.kill()
        child.communicate()
    with locked(str(folder)):
        pass


async def test_a_folder_is_waited_for_as_long_as_it_is_held_and_no_longer_than_told(
    folder: Path,
) -> None:
    clock = FakeClock()
    began = clock.monotonic()
    with locked(str(folder)):
        waiting = asyncio.create_task(wait_until_free(str(folder), clock, 10.0))
        await settle()
        await clock.advance(5.0)
        assert not waiting.done()
    await clock.advance(1.0)
    await waiting
    with locked(str(folder)):
        waiting = asyncio.create_task(wait_until_free(str(folder), clock, 10.0))
        await settle()
        await clock.advance(11.0)
        with pytest.raises(InUse):
            await waiting
    assert clock.monotonic() - began == 17.0


async def test_what_will_not_change_is_not_waited_for(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "keep.txt").touch()
    folder.chmod(0o700)
    with pytest.raises(OSError, match="holds other files"):
        await wait_until_free(str(folder), FakeClock(), 10.0)
