"""Files of the gateway that others on its machine may read are told, and it makes none."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.opening.stores import open_keys, open_ledger
from gateway.policy.reader import read_with_places
from gateway.preflight.startable import exposed_files
from gateway.tls.context import ensure_certificates
from tests.gateway.storage.sqlite.ledger_rows import open_row
from tests.gateway.test_preflight import policy_of


def exposed(folder: Path) -> list[tuple[str, str]]:
    policy, places = read_with_places(policy_of(folder), {})
    return [(problem.path, problem.message) for problem in exposed_files(policy, places)]


async def test_what_the_gateway_makes_is_its_own_alone(tmp_path: Path) -> None:
    """The folder, the keys, the ledger and its journals, certificates."""
    policy, _ = read_with_places(policy_of(tmp_path), {})
    with contextlib.closing(open_keys(policy, FakeClock())):
        ledger = open_ledger(policy)
        await ledger.open(open_row())
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        ensure_certificates(tmp_path / "data" / "tls", ["localhost"], now)
        made = sorted(path.name for path in (tmp_path / "data").iterdir())
        assert {"keys.db", "ledger.db", "ledger.db-wal", "ledger.db-shm"} <= set(made)
        assert exposed(tmp_path) == []
        await ledger.aclose()


@pytest.mark.parametrize(
    ("name", "mode", "key", "advice"),
    [
        ("", 0o755, "server.data", "chmod 700"),
        ("keys.db", 0o644, "server.data", "chmod 600"),
        ("tls/ca.key", 0o640, "server.data", "chmod 600"),
        ("ledger.db", 0o604, "store.ledger", "chmod 600"),
        ("ledger.db-wal", 0o644, "store.ledger", "chmod 600"),
    ],
)
def test_a_file_that_others_may_read_is_told_with_what_to_do(
    name: str, mode: int, key: str, advice: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    path = tmp_path / "data" / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if name:
        path.touch()
    path.chmod(mode)
    [(found, message)] = exposed(tmp_path)
    assert found == key
    assert advice in message
    assert str(path) in message
