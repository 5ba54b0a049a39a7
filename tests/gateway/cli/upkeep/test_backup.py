"""A backup that is restored elsewhere has every key and every row; one that is not whole changes
nothing."""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.serving.data_lock import DataInUse, DataLock
from gateway.cli.serving.local_socket import LocalSocket
from gateway.cli.serving.serving_lock import HeldLocks, ServingLock
from gateway.cli.upkeep.archive import BackupFile
from gateway.cli.upkeep.replacing import replace_all
from gateway.policy.reader import read_policy_text
from tests.gateway.cli.shells import POLICY, Shell

LOCKS = {"gateway.lock", "serving.lock"}


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    path = tmp_path / "other.yaml"
    path.write_text(POLICY.format(folder=tmp_path / "other"))
    return str(path)


@pytest.fixture
def made(config: str, shell: Shell, tmp_path: Path) -> Path:
    """Of a gateway's data with two keys, one of them revoked, and an empty ledger."""
    shell("keys", "create", "--config", config, "--user", "alice")
    revoked = shell.json("keys", "create", "--config", config, "--user", "bob", "--json")
    shell("keys", "revoke", "--config", config, revoked["id"])
    shell("usage", "--config", config)
    (tmp_path / "data" / "tls").mkdir()
    (tmp_path / "data" / "tls" / "ca.key").write_text("the authority")
    file = tmp_path / "backup.tar.gz"
    told = shell.json("backup", str(file), "--config", config, "--json")
    assert set(told["parts"]) == {"ledger.db", "keys.db", "tls/ca.key", "policy/policy.yaml"}
    return file


def keys_of(shell: Shell, config: str) -> Any:
    return shell.json("keys", "list", "--config", config, "--json")


def test_what_is_restored_is_what_there_was(
    made: Path, config: str, elsewhere: str, shell: Shell, tmp_path: Path
) -> None:
    restored = shell.json("restore", str(made), "--config", elsewhere, "--json")["restored"]
    assert set(restored) == {"ledger.db", "keys.db", "tls/ca.key"}
    assert keys_of(shell, elsewhere) == keys_of(shell, config)
    assert (tmp_path / "other" / "tls" / "ca.key").read_text() == "the authority"
    assert all(Path(path).stat().st_mode & 0o077 == 0 for path in restored.values())
    assert shell.json("usage", "--config", elsewhere, "--json")["rows"] == []
    [act] = shell.json("audit", "--config", elsewhere, "--act", "data.restore", "--json")["data"]
    assert (act["outcome"], act["target"]) == ("done", made.name)


def test_a_backup_is_as_secret_as_what_it_has(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o600
    with tarfile.open(made) as tar:
        assert {one.mode for one in tar.getmembers()} == {0o600}


def test_one_that_is_there_is_left_alone(made: Path, config: str, shell: Shell) -> None:
    before = made.read_bytes()
    shell("backup", str(made), "--config", config, status=2)
    assert "is there already" in shell.error
    assert made.read_bytes() == before


def test_data_that_is_there_is_replaced_by_force_alone_and_kept(
    made: Path, config: str, shell: Shell, tmp_path: Path
) -> None:
    later = shell.json("keys", "create", "--config", config, "--user", "late", "--json")
    shell("restore", str(made), "--config", config, status=2)
    assert "--force" in shell.error
    assert later["id"] in {one["id"] for one in keys_of(shell, config)}
    shell("restore", str(made), "--config", config, "--force")
    assert {one["user"] for one in keys_of(shell, config)} == {"alice", "bob"}
    assert list((tmp_path / "data").glob("keys.db.replaced-*"))


def test_not_where_a_gateway_runs(made: Path, elsewhere: str, shell: Shell, tmp_path: Path) -> None:
    lock = DataLock(tmp_path / "other")
    try:
        shell("restore", str(made), "--config", elsewhere, status=2)
    finally:
        lock.close()
    assert "server.data" in shell.error
    assert "End it first" in shell.error
    assert "spillgate serve" not in shell.error, "that is for whoever would serve"
    assert not (tmp_path / "other" / "keys.db").exists()


def test_not_beside_a_gateway_that_shares_its_folder_and_has_no_socket(
    made: Path, elsewhere: str, shell: Shell, tmp_path: Path
) -> None:
    """Its limits are in a Redis, and its folder's file system has no sockets."""
    text = (
        Path(elsewhere).read_text().replace("store: {", "store: {shared: 'redis://127.0.0.1:1/0', ")
    )
    policy = read_policy_text(text, {"NOT_SET_ANYWHERE": "key"})
    with (
        contextlib.closing(HeldLocks(policy, False)),
        contextlib.closing(HeldLocks(policy, False)),
    ):
        shell("restore", str(made), "--config", elsewhere, status=2)
        assert "a gateway serves" in shell.error
        assert not (tmp_path / "other" / "keys.db").exists()
    with (
        contextlib.closing(ServingLock(tmp_path / "other", alone=True)),
        pytest.raises(DataInUse, match="spillgate restore"),
    ):
        HeldLocks(policy, False)
    shell("restore", str(made), "--config", elsewhere)
    assert (tmp_path / "other" / "keys.db").exists()


def test_not_beneath_a_gateway_that_holds_no_lock(
    made: Path, elsewhere: str, shell: Shell, tmp_path: Path
) -> None:
    """It is of an earlier version, and its limits are in a Redis."""
    (tmp_path / "other").mkdir(mode=0o700)
    with contextlib.closing(LocalSocket(tmp_path / "other")):
        shell("restore", str(made), "--config", elsewhere, status=2)
    assert "a gateway serves" in shell.error
    assert not (tmp_path / "other" / "keys.db").exists()


def test_where_one_file_cannot_be_put_the_others_stay_as_they_were(
    made: Path, config: str, shell: Shell, tmp_path: Path
) -> None:
    """The folder of the certificates is a file now, which the last of the parts meets."""
    data = tmp_path / "data"
    later = shell.json("keys", "create", "--config", config, "--user", "late", "--json")
    shutil.rmtree(data / "tls")
    (data / "tls").touch()
    before = {one.name for one in data.iterdir()}
    shell("restore", str(made), "--config", config, "--force", status=2)
    assert {one.name for one in data.iterdir()} == before | {"gateway.lock", "serving.lock"}
    assert later["id"] in {one["id"] for one in keys_of(shell, config)}


def test_a_move_that_fails_takes_the_others_back(tmp_path: Path) -> None:
    """The second place is a folder, over which no file goes."""
    copies = tmp_path / "copies"
    copies.mkdir()
    parts = [BackupFile(name, tmp_path / name, True) for name in ("ledger.db", "keys.db")]
    for part in parts:
        (copies / part.name).write_text("of the backup")
    (tmp_path / "ledger.db").write_text("of today")
    (tmp_path / "ledger.db-wal").write_text("of today")
    (tmp_path / "keys.db").mkdir()
    (tmp_path / "keys.db.old" / "held").mkdir(parents=True)
    with pytest.raises(OSError, match=r"keys\.db"):
        replace_all(copies, parts, ".old")
    assert (tmp_path / "ledger.db").read_text() == "of today"
    assert (tmp_path / "ledger.db-wal").read_text() == "of today"
    assert not list(tmp_path.glob(".*"))
    assert {one.name for one in tmp_path.iterdir()} == {
        "copies", "ledger.db", "ledger.db-wal", "keys.db", "keys.db.old",
    }  # fmt: skip


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def other(file: Path) -> None:
    file.write_bytes(b"no archive")


def without_manifest(file: Path) -> None:
    rewritten(file, lambda name, data: None if name == "manifest.json" else data)


def with_another_ledger(file: Path) -> None:
    rewritten(file, lambda name, data: b"x" + data[1:] if name == "ledger.db" else data)


def from_outside(file: Path) -> None:
    with tarfile.open(file, "w:gz") as tar:
        info = tarfile.TarInfo("../outside")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))


def rewritten(file: Path, change: Any) -> None:
    aside = file.with_suffix(".new")
    with tarfile.open(file) as old, tarfile.open(aside, "w:gz") as new:
        for member in old.getmembers():
            source = old.extractfile(member)
            assert source is not None
            data = change(member.name, source.read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    shutil.move(aside, file)


HARMS = (cut, other, without_manifest, with_another_ledger, from_outside)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_one_that_is_not_whole_changes_nothing(
    harm: Any, made: Path, elsewhere: str, shell: Shell, tmp_path: Path
) -> None:
    harm(made)
    shell("restore", str(made), "--config", elsewhere, status=2)
    assert str(made) in shell.error
    assert {one.name for one in (tmp_path / "other").iterdir()} == LOCKS
    assert not (tmp_path / "outside").exists()


def test_where_nothing_has_run_there_is_nothing(config: str, shell: Shell, tmp_path: Path) -> None:
    """The policy alone is no backup."""
    shell("backup", str(tmp_path / "b.tar.gz"), "--config", config, status=2)
    assert "nothing to back up" in shell.error
    assert not (tmp_path / "b.tar.gz").exists()


def test_of_a_database_it_says_how_it_is_copied(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "pg.yaml"
    text = POLICY.format(folder=tmp_path / "data")
    there = f"sqlite:///{tmp_path / 'data'}/ledger.db"
    path.write_text(text.replace(there, "postgresql://me@127.0.0.1:1/gpus"))
    (tmp_path / "data" / "tls").mkdir(parents=True)
    (tmp_path / "data" / "tls" / "ca.key").write_text("the authority")
    told = shell.json("backup", str(tmp_path / "b.tar.gz"), "--config", str(path), "--json")
    assert "pg_dump" in told["elsewhere"][0]
    assert "ledger.db" not in told["parts"]
