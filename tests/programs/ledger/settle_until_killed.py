"""Forks writers one after the other and kills each at a random instant while it writes.

``python -m tests.programs.ledger.settle_until_killed LEDGER ROUNDS SEED`` prints what the
writers had acknowledged: ``open ID`` or ``settled ID``, one a line.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys

from gateway.storage.sqlite.ledger import SqliteLedger
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row


async def write_for_ever(path: str, run: int, acknowledge: int) -> None:
    """Four callers; each says what is durable with one write, which a kill cannot cut."""
    ledger = SqliteLedger(path)

    async def caller(name: int) -> None:
        for number in itertools.count():
            id = f"run{run}-{name}-{number}"
            await ledger.open(open_row(id))
            os.write(acknowledge, f"open {id}\n".encode())
            await ledger.settle([settled_row(id, cost_nano=1)])
            os.write(acknowledge, f"settled {id}\n".encode())

    await asyncio.gather(*(caller(name) for name in range(4)))


def one_life(path: str, run: int, lines: int) -> str:
    """What a writer acknowledged; it is killed once it has acknowledged ``lines`` at least."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        asyncio.run(write_for_ever(path, run, sink))
        os._exit(1)
    os.close(sink)
    with os.fdopen(source) as output:
        said = [output.readline() for _ in range(lines)]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "".join([*said, *output.readlines()])


def main(path: str, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for run in range(rounds):
        sys.stdout.write(one_life(path, run, chance.randrange(1, 200)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
