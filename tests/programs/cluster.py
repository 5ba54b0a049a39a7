"""A Ray cluster on this machine's loopback addresses, for the tests of workers on it.

Reads orders by line from stdin and answers each with a line: ``add CPUS GPUS`` with the number of
the new node, ``kill NUMBER`` with the same. Its first line is the address of the head, which has
no CPUs and no GPUs for workers. Ends everything when stdin ends.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}

from ray.cluster_utils import Cluster

STORE = 80 * 1024 * 1024
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}
"""A node that died is known to be dead within about a second."""


def main() -> None:
    folder, answer = sys.argv[1], _answers()
    Path(os.environ["RAY_TMPDIR"], "ray").mkdir()  # Ray takes it for granted
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            **_node("127.0.0.2", 0, 0),
            "_system_config": QUICK,
            "include_dashboard": False,
            "temp_dir": folder,
        },
    )
    nodes: dict[str, Any] = {}
    numbers = itertools.count(3)
    try:
        answer(cluster.address)
        for line in sys.stdin:
            order, *words = line.split()
            if order == "add":
                number = str(next(numbers))
                given = _node(f"127.0.0.{number}", *map(int, words))
                nodes[number] = cluster.add_node(**given)
                answer(number)
            else:
                cluster.remove_node(nodes.pop(words[0]), allow_graceful=False)
                answer(words[0])
    finally:
        cluster.shutdown()


def _answers() -> Callable[[str], None]:
    """Ray prints, so what was stdout is for the answers alone."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(line: str) -> None:
        print(line, file=out)

    return answer


def _node(address: str, cpus: int, gpus: int) -> dict[str, Any]:
    return {
        "num_cpus": cpus,
        "num_gpus": gpus,
        "node_ip_address": address,
        "object_store_memory": STORE,
    }


if __name__ == "__main__":
    main()
