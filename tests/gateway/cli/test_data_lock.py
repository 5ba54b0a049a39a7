"""One gateway a data folder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gateway.cli.serving.data_lock import DataInUse, DataLock


def test_a_second_one_is_refused_and_told_by_whom_and_what_to_do(tmp_path: Path) -> None:
    first = DataLock(tmp_path)
    with pytest.raises(DataInUse) as refused:
        DataLock(tmp_path)
    for word in (f"process id {os.getpid()}", str(tmp_path), "redis://", "--beside-others"):
        assert word in str(refused.value)
    first.close()
    DataLock(tmp_path).close()


def test_one_that_is_ending_is_waited_for(tmp_path: Path) -> None:
    first = DataLock(tmp_path)
    first.ends()
    taken: list[DataLock] = []
    restart = threading.Thread(target=lambda: taken.append(DataLock(tmp_path)))
    restart.start()
    first.close()
    restart.join(30)
    assert taken
    with pytest.raises(DataInUse, match=f"process id {os.getpid()} uses"):
        DataLock(tmp_path)
    taken[0].close()


def test_what_a_dead_one_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "gateway.lock").write_text("999999999")
    DataLock(tmp_path).close()
    DataLock(tmp_path).close()


def test_a_folder_that_nobody_has_made_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    DataLock(tmp_path / "new" / "data").close()
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
