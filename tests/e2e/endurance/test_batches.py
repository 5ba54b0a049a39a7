"""A batch over a machine of one's own and a platform, whose gateway is killed again and again:
every line answered once, at the ledger's cost, in memory that does not grow with it.

Two hundred lines and two kills in CI; `make batches` is twenty thousand and five.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.servers.paid import PaidServer
from tests.e2e.stored.test_batches import begun, client_of, ended
from tests.live import LiveGateway
from tests.waiting import wait_until

LONG = os.environ.get("SPILLGATE_SOAK") == "long"
LINES, KILLS = (20_000, 5) if LONG else (200, 2)
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
def test_every_line_is_answered_once_whoever_is_killed(tmp_path: Path) -> None:
    with PaidServer() as home, PaidServer() as cloud:
        config = CONFIG.format(home=home.url, cloud=cloud.url)
        gateway = LiveGateway(tmp_path, config).start()
        try:
            grown = check(gateway, home, cloud)
        finally:
            gateway.stop()
    assert grown < MOST_GROWN_KB


def check(gateway: LiveGateway, home: PaidServer, cloud: PaidServer) -> int:
    most = 0
    with client_of(gateway) as client:
        batch = begun(client, LINES)
        for kill in range(1, KILLS + 1):
            enough = LINES * kill // (KILLS + 2)
            wait_until(lambda: home.calls + cloud.calls >= enough, within_s=900)  # noqa: B023
            most = max(most, resident_kb(gateway.pid))
            gateway.kill()
            gateway.start()
        least = resident_kb(gateway.pid)
        done = ended(client, batch.id, within_s=1800)
        most = max(most, resident_kb(gateway.pid))
        assert done.status == "completed"
        told = [*lines_of(client, done.output_file_id), *lines_of(client, done.error_file_id)]
    numbers = sorted(int(one["custom_id"][1:]) for one in told)
    assert numbers == list(range(LINES))
    answered = [one for one in told if one["response"]["status_code"] == 200]
    codes = {one["response"]["body"]["error"]["code"] for one in told if one not in answered}
    assert codes <= {"interrupted"}
    assert len(told) - len(answered) <= 8 * KILLS
    assert float(done.cost_usd) == pytest.approx(cost_of(gateway, batch.id), rel=1e-9)
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
