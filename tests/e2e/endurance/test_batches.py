"""A batch over a machine of one's own and a platform, whose gateways are killed again and again:
every line answered once, at the ledger's cost, in memory that does not grow with it; by one
gateway, and by two that share a ledger in PostgreSQL.

Two hundred lines and two kills in CI; `make batches` is twenty thousand and five, or as many as
`SPILLGATE_LINES` says.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.servers.paid import PaidServer
from tests.e2e.stored.test_batches import begun, client_of, ended
from tests.live import LiveGateway
from tests.postgres_server import PostgresServer, require_postgres
from tests.waiting import wait_until

LONG = os.environ.get("SPILLGATE_SOAK") == "long"
LINES = int(os.environ.get("SPILLGATE_LINES") or (20_000 if LONG else 200))
KILLS = 5 if LONG else 2
MOST_GROWN_KB = 200 * 1024
CONFIG = """
backends:
  home: {{kind: openai, base_url: "{home}/v1", concurrency: 8, price: here}}
  cloud: {{kind: openai, base_url: "{cloud}/v1", concurrency: 8, price: there}}
models:
  echo: {{task: chat, backends: [home, cloud]}}
prices:
  here: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
  there: {{per_million_input: 2, per_million_output: 5, as_of: 2026-11-01, source: test}}
plans:
  default: {{spend: 1000 USD/day}}
"""


@pytest.mark.soak
@pytest.mark.timeout(7_200 if LONG else 900)
@pytest.mark.parametrize("gateways", [1, 2])
def test_every_line_is_answered_once_whoever_is_killed(tmp_path: Path, gateways: int) -> None:
    with contextlib.ExitStack() as stack:
        home, cloud = stack.enter_context(PaidServer()), stack.enter_context(PaidServer())
        store = {} if gateways == 1 else stack.enter_context(shared_store(tmp_path))
        config = CONFIG.format(home=home.url, cloud=cloud.url)
        serving = [
            stack.enter_context(LiveGateway(folder_of(tmp_path, number), config, store=store))
            for number in range(gateways)
        ]
        grown = check(serving, home, cloud)
    assert grown < MOST_GROWN_KB


@contextlib.contextmanager
def shared_store(folder: Path) -> Iterator[dict[str, str]]:
    """Of gateways that stand on machines of their own."""
    require_postgres()
    files = folder_of(folder, "files")
    with PostgresServer({"fsync": "on", "synchronous_commit": "on"}) as server:
        yield {"ledger": server.url(), "files": str(files)}


def folder_of(folder: Path, name: object) -> Path:
    made = folder / str(name)
    made.mkdir()
    return made


def check(serving: list[LiveGateway], home: PaidServer, cloud: PaidServer) -> int:
    """How much the first gateway's memory has grown, in KiB, since its last start."""
    most, first = 0, serving[0]
    with client_of(first) as client:
        batch = begun(client, LINES)
        for kill in range(1, KILLS + 1):
            enough = LINES * kill // (KILLS + 2)
            wait_until(lambda: home.calls + cloud.calls >= enough, within_s=900)  # noqa: B023
            killed = serving[kill % len(serving)]
            most = max(most, resident_kb(first.pid))
            killed.kill()
            killed.start()
        least = resident_kb(first.pid)
        done = ended(client, batch.id, within_s=1800)
        most = max(most, resident_kb(first.pid))
        assert done.status == "completed"
        told = [*lines_of(client, done.output_file_id), *lines_of(client, done.error_file_id)]
    numbers = sorted(int(one["custom_id"][1:]) for one in told)
    assert numbers == list(range(LINES))
    answered = [one for one in told if one["response"]["status_code"] == 200]
    codes = {one["response"]["body"]["error"]["code"] for one in told if one not in answered}
    assert codes <= {"interrupted"}
    assert len(told) - len(answered) <= 8 * KILLS
    assert float(done.cost_usd) == pytest.approx(cost_of(first, batch.id), rel=1e-9)
    return most - least


def lines_of(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    if not file:
        return []
    return [json.loads(line) for line in client.files.content(file).text.splitlines()]


def cost_of(gateway: LiveGateway, batch: str) -> float:
    with gateway.client() as client:
        rows = client.get("/usage", params={"group_by": "tag:batch"}).json()["rows"]
    [row] = [one for one in rows if one["tag:batch"] == batch]
    return float(row["cost_usd"])


def resident_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])
