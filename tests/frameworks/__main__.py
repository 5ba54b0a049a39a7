"""``python -m tests.frameworks [NAME ...]``: each framework asks a gateway, and each of its calls
has its row. Ends with 1 where anything is not as it should be."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.frameworks.environments import FRAMEWORKS, Framework
from tests.frameworks.model import model
from tests.live import LiveGateway

POLICY = """
backends:
  home: {{kind: openai, base_url: "{url}", engine: none, required: true, price: tokens}}
models:
  chat: {{task: chat, backends: [home]}}
prices:
  tokens: {{per_million_input: 2, per_million_output: 5, as_of: 2026-11-01, source: made up}}
"""
CALL_NANO = 10 * 2_000 + 4 * 5_000
_SETTLED_WITHIN_S = 10.0


def main() -> None:
    wanted = sys.argv[1:]
    chosen = [one for one in FRAMEWORKS if one.name in wanted or not wanted]
    if unknown := set(wanted) - {one.name for one in FRAMEWORKS}:
        raise SystemExit(f"no such framework: {', '.join(sorted(unknown))}")
    with (
        tempfile.TemporaryDirectory() as folder,
        model() as url,
        LiveGateway(Path(folder), POLICY.format(url=url)) as gateway,
    ):
        holds = [judged(gateway, one) for one in chosen]
    raise SystemExit(not all(holds))


def judged(gateway: LiveGateway, framework: Framework) -> bool:
    """Whether all that it asks, and its rows, are as they should be; prints each."""
    key = gateway.create_key(framework.name)
    command = [*framework.command(), f"{gateway.url}/v1", key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    said = [*done.stdout.splitlines(), f"rows {rows_of(gateway, framework)}"]
    for line in said:
        print(f"{framework.name:12} {line}")
    if done.returncode:
        print(done.stderr[-2000:])
    return not done.returncode and all(line.endswith(" ok") for line in said)


def rows_of(gateway: LiveGateway, framework: Framework) -> str:
    """``ok``, or what the ledger has instead: the calls that were answered, one that was refused,
    and one that its caller has left, which pays for what came."""
    answered = framework.answered
    wanted = Counter({("success", CALL_NANO): answered, ("error", 0): 1, ("disconnected", None): 1})
    until = time.monotonic() + _SETTLED_WITHIN_S
    with gateway.client(gateway.admin_key) as client:
        while True:
            calls = client.get("/usage/calls", params={"user": framework.name}).json()["data"]
            found = Counter(
                (row["outcome"], None if row["outcome"] == "disconnected" else row["cost_nano"])
                for row in calls
            )
            left = sum(row["cost_nano"] for row in calls if row["outcome"] == "disconnected")
            if found == wanted and left > 0:
                return "ok"
            if time.monotonic() > until:
                return f"WRONG: {dict(found)}, {left} nano-dollars for what was left"
            time.sleep(0.1)


if __name__ == "__main__":
    main()
