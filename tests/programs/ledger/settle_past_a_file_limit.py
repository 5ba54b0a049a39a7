"""Settles rows until no file may grow any more, then lifts the limit and settles again.

Prints what became of each part, one line a part.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path

from gateway.storage.base import StorageUnavailable
from gateway.storage.queries import UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.gateway.storage.sqlite.ledger_rows import settled_row


async def main(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.settle([settled_row("first")])
    limit_files_to(path.with_name(path.name + "-wal").stat().st_size + 20_000)
    written = 1
    try:
        while written < 10_000:
            await ledger.settle([settled_row(f"r{written}", error="x" * 1000)])
            written += 1
    except StorageUnavailable as unavailable:
        print("refused:", unavailable)
    print("failing:", ledger.failing)
    limit_files_to(resource.RLIM_INFINITY)
    await ledger.settle([settled_row("last")])
    print("failing:", ledger.failing)
    [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
    print("kept:", total.calls == written + 1)
    await ledger.aclose()


def limit_files_to(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
