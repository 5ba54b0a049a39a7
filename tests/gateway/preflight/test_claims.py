"""Two keys of a policy that cannot both have what they name are refused, at the second of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import backend_maker
from gateway.clock import FakeClock
from gateway.policy.reader import read_with_places
from gateway.policy.syntax.problems import PolicyError
from gateway.preflight.claims import KEYS_FILE, OWN_FILES
from gateway.preflight.startable import check_startable

POLICY = """
version: 1
server: {{listen: "{listen}", metrics: {{listen: "{metrics}"}}, data: "{folder}/data", tls: "off"}}
store: {{ledger: "sqlite:///{ledger}", {store}}}
backends:
  home: {{kind: openai, base_url: "{url}", engine: none, ca_file: {ca}}}
models: {{chat: {{task: chat, backends: [home]}}}}
"""
GIVEN = {
    "listen": "127.0.0.1:18443",
    "metrics": "127.0.0.1:19090",
    "ledger": "{folder}/ledger.db",
    "store": "timeout: 1s",
    "url": "http://127.0.0.1:8000/v1",
    "ca": "null",
}


def refused(folder: Path, **given: str) -> list[str]:
    """The keys that are at fault."""
    values = {name: text.replace("{folder}", str(folder)) for name, text in (GIVEN | given).items()}
    text = POLICY.format(folder=folder, **values)
    try:
        policy, places = read_with_places(text, {})
        check_startable(policy, places, backend_maker(FakeClock()))
    except PolicyError as error:
        return [f"{problem.path}" for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("listen", "metrics", "clash"),
    [
        ("127.0.0.1:18443", "127.0.0.1:18443", True),
        ("127.0.0.1:18443", "0.0.0.0:18443", True),
        ("0.0.0.0:18443", "127.0.0.1:18443", True),
        ("localhost:18443", "127.0.0.1:18443", True),
        ("localhost:18443", "[::1]:18443", True),
        ("[::]:18443", "[::1]:18443", True),
        ("[::]:18443", "127.0.0.1:18443", False),
        ("127.0.0.1:18443", "127.0.0.2:18443", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:18443", "127.0.0.1:19090", False),
    ],
)
def test_two_listeners_share_no_address(
    listen: str, metrics: str, clash: bool, tmp_path: Path
) -> None:
    found = refused(tmp_path, listen=listen, metrics=metrics)
    assert found == (["server.metrics.listen"] if clash else [])


@pytest.mark.parametrize(
    ("listen", "url", "clash"),
    [
        ("127.0.0.1:18443", "http://127.0.0.1:18443/v1", True),
        ("0.0.0.0:18443", "https://localhost:18443/v1", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("10.1.2.3:18443", "http://127.0.0.1:18443/v1", False),
        ("127.0.0.1:18443", "http://10.1.2.3:18443/v1", False),
        ("0.0.0.0:18443", "http://gateway.example:18443/v1", False),
    ],
)
def test_no_backend_is_the_gateway_itself(
    listen: str, url: str, clash: bool, tmp_path: Path
) -> None:
    found = [one for one in refused(tmp_path, listen=listen, url=url) if "base_url" in one]
    assert found == (["backends.home.base_url"] if clash else [])


@pytest.mark.parametrize("name", [*OWN_FILES, KEYS_FILE])
def test_the_ledger_is_none_of_the_gateways_own_files(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path, ledger=f"{{folder}}/data/{name}") == ["store.ledger"]


@pytest.mark.parametrize(
    ("given", "at_fault"),
    [
        ({"store": 'keys: "sqlite:///{folder}/ledger.db"'}, "store.keys"),
        ({"store": 'keys: "sqlite:///{folder}/x/../ledger.db"'}, "store.keys"),
        ({"store": 'keys: "sqlite:///{folder}/ledger.db-wal"'}, "store.keys"),
        ({"store": 'files: "{folder}/ledger.db"'}, "store.files"),
        ({"store": 'keep: {rows: 60d, archive: "{folder}/ledger.db"}'}, "store.keep.archive"),
        ({"store": 'files: "{folder}/data/tls"'}, "store.files"),
        ({"ca": '"{folder}/ledger.db"'}, "backends.home.ca_file"),
        ({"store": 'keys: "sqlite:///{folder}/k.db"', "ledger": "{folder}/data/keys.db"}, ""),
        ({"store": 'files: "{folder}/data/files"'}, ""),
    ],
)
def test_no_file_is_written_for_two_keys(
    given: dict[str, str], at_fault: str, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    found = refused(tmp_path, **given)
    assert found[-1:] == ([at_fault] if at_fault else [])


def test_it_is_compared_through_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    assert refused(tmp_path, store='keys: "sqlite:///{folder}/elsewhere/ledger.db"') == [
        "store.keys"
    ]
