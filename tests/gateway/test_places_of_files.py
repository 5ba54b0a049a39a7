"""Places where the gateway's own files cannot be are told before it is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gateway.test_preflight import faults, policy_of


def test_a_data_folder_that_is_a_file_or_below_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    said = faults(policy_of(tmp_path))
    assert [(line, path) for line, path, _ in said] == [(2, "server.data"), (3, "store.ledger")]
    assert all("is a file, not a folder" in message for _, _, message in said)
    text = policy_of(tmp_path, server="").replace(f"{tmp_path}/data", "/dev/null/data")
    assert [path for _, path, _ in faults(text)] == ["server.data", "store.ledger"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert [path for _, path, _ in faults(policy_of(tmp_path))] == ["server.data", "store.ledger"]
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("file", "path"), [("keys.db", "server.data"), ("ledger.db", "store.ledger")]
)
def test_a_store_that_is_no_database_is_refused(file: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / file).write_text("this is a text, which is no database")
    [(_, where, message)] = faults(policy_of(tmp_path))
    assert where == path
    assert "no SQLite database" in message
    (tmp_path / "data" / file).unlink()
    (tmp_path / "data" / file).mkdir()
    [(_, where, message)] = faults(policy_of(tmp_path))
    assert (where, message) == (path, f"{tmp_path / 'data' / file} is no file")


@pytest.mark.parametrize(
    ("ledger", "says"),
    [
        ("{data}", "is a folder, that of server.data"),
        ("{data}/../data", "is a folder, that of server.data"),
        ("{data}/..", "is a folder, that of server.data"),
        ("{data}/keys.db", "is the gateway's own"),
        ("{data}/x/../keys.db", "is the gateway's own"),
        ("/proc/ledger.db", "cannot"),
        ("{data}/" + "x" * 300, "too long"),
        ("{data}/" + "x" * 250, "too long"),
        ("{data}/" + "x" * 300 + "/ledger.db", "too long"),
        (":memory:", "a ledger is a file"),
    ],
)
@pytest.mark.parametrize("there", [False, True], ids=["first start", "later"])
def test_a_ledger_that_could_not_be_made_is_refused(
    ledger: str, says: str, there: bool, tmp_path: Path
) -> None:
    if there:
        (tmp_path / "data" / "x").mkdir(parents=True)
    text = policy_of(tmp_path).replace(
        f"{tmp_path}/data/ledger.db", ledger.format(data=tmp_path / "data")
    )
    [(line, path, message)] = faults(text)
    assert (line, path) == (3, "store.ledger")
    assert says in message


@pytest.mark.parametrize("data", ["/proc/x", "x" * 300, "a\\0b"], ids=range(3))
def test_a_data_folder_that_could_not_be_made_is_refused(data: str, tmp_path: Path) -> None:
    text = policy_of(tmp_path).replace(f'data: "{tmp_path}/data"', f'data: "{data}"')
    [(line, path, _)] = faults(text)
    assert (line, path) == (2, "server.data")
