"""``python -m benchmarks.console FOLDER [--rows N]``: see the package."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from benchmarks.console.bills import keep_bills
from benchmarks.console.month import POLICY, fill


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--port", type=int, default=8449)
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    head = (
        f"version: 1\nserver: {{listen: 127.0.0.1:{options.port}, tls: 'off', data: {folder}}}\n"
        f"store: {{ledger: 'sqlite:///{folder}/ledger.db'}}\nkeys: {{unlimited: true}}\n"
    )
    (folder / "policy.yaml").write_text(head + POLICY)
    now = time.time()
    rows = asyncio.run(fill(folder / "ledger.db", options.rows, now))
    asyncio.run(keep_bills(folder / "ledger.db", folder / "bills.db", now))
    print(f"{rows:,} rows; spillgate serve --config {folder / 'policy.yaml'}")


if __name__ == "__main__":
    main()
