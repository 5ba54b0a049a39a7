"""What the platforms of the made-up month billed: about what the ledger has, and never the same."""

from __future__ import annotations

import random
from pathlib import Path

from adapters.types import Bill, BillLine
from gateway.bills.kept_bills import PLATFORM, KeptBill, KeptBills
from gateway.bills.periods import DAY
from gateway.storage.queries import UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.types import MICRO, NANO

_BILLED = {"runpod-flex": 0.00116, "modal-spare": 0.001097}
"""Dollars a second."""
_DAYS = 30


async def keep_bills(ledger_file: Path, bills_file: Path, now: float, seed: int = 7) -> None:
    """Bills of the days that have ended, a line a day, of two of the platforms."""
    draw, kept = random.Random(seed), KeptBills(bills_file)
    end = now // DAY * DAY
    ledger = SqliteLedger(ledger_file)
    for name in _BILLED:
        query = UsageQuery(
            since=end - _DAYS * DAY, until=end, group_by=("day",), where={"backend": name}
        )
        sums = {row.group["day"]: row for row in (await ledger.usage(query)).rows}
        lines = []
        for at, day in enumerate(sorted(sums)):
            row, start = sums[day], end - (len(sums) - at) * DAY
            worked_s = (row.gpu_us + row.cold_us) / MICRO * draw.uniform(1.01, 1.08)
            dearer = 1.04 if at >= len(sums) - 6 else 1.0
            disk = round(draw.uniform(0.002, 0.004) * NANO)
            cost = round(worked_s * _BILLED[name] * dearer * NANO) + disk
            lines.append(
                BillLine(
                    start=start,
                    end=start + DAY,
                    cost_nano=cost,
                    seconds=worked_s,
                    label=f"{name}, H100",
                    parts={"disk": disk},
                )
            )
        bill = Bill(start=end - _DAYS * DAY, end=end, lines=tuple(lines))
        kept.put(name, KeptBill(bill=bill, source=PLATFORM, at=now))
    await ledger.aclose()
