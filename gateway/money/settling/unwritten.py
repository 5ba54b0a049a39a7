"""What calls were charged, of which the ledger's sums know nothing yet. The shared store counts it;
where that has lost its memory it holds it instead, until there are rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from gateway.money.counted import Part, charged_of
from gateway.money.settling.noted import NotedRows
from gateway.storage.base import Hold, Ledger, LedgerRow, SharedStore, StorageUnavailable
from gateway.storage.claims import holds_rest, with_take
from gateway.storage.counters import TOTALS

_HELD_AGAIN_S = 86_400.0
"""How long a shared store that lost its memory holds what waits for its row: a gateway that dies
meanwhile leaves an open row to others, who settle it."""
_MOST_AHEAD = 10_000


class _Charged:
    """Parts that were spent, or will be once there are rows."""

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        self.parts = list(parts)
        self.is_held_again = False

    def amounts(self) -> Iterator[Hold]:
        """What is held again, by its id."""
        for hold, used in self.parts:
            charged = charged_of(used, holds_rest(hold.claims))
            claims = [
                with_take(claim, charged[claim.unit])
                for claim in hold.claims
                if claim.unit in TOTALS and charged.get(claim.unit, 0) > 0
            ]
            if claims:
                yield Hold(hold.id, tuple(claims))


class LateRows(_Charged):
    """Rows that the ledger has not taken yet."""

    def __init__(
        self, rows: Sequence[LedgerRow], parts: Sequence[Part], in_doubt: bool = False
    ) -> None:
        super().__init__(parts)
        self.in_doubt = in_doubt
        """The ledger may have them all the same."""
        self.writing: asyncio.Future[None] | None = None
        """Goes on where whoever waits for it is broken off."""
        self.rows = rows


class Unwritten:
    """All of it that this gateway knows of."""

    def __init__(self, shared: SharedStore, ledger: Ledger) -> None:
        self._shared = shared
        self._ledger = ledger
        self.late: list[LateRows] = []
        self.ahead: dict[str, _Charged] = {}
        """Id of a call that goes on -> what it has left, and what was used of that: a backend that
        failed, the model that it was one of."""

    def leaves(self, call_id: str, part: Part) -> None:
        """The call goes on without the part; the rows of what was used of it are written with the
        call's own."""
        self.ahead.setdefault(call_id, _Charged()).parts.append(part)
        if len(self.ahead) > _MOST_AHEAD:  # jobs that ended elsewhere
            del self.ahead[next(iter(self.ahead))]

    def keep(self, rows: Sequence[LedgerRow], parts: Sequence[Part], in_doubt: bool) -> LateRows:
        """The ledger did not take the rows of a call that has ended."""
        ahead = self.ahead.pop(rows[0].id, None) or _Charged()
        late = LateRows(rows, [*parts, *ahead.parts], in_doubt)
        late.is_held_again = ahead.is_held_again
        self.late.append(late)
        return late

    def written(self, call_id: str) -> Sequence[Part]:
        """The call's rows are there: what is still to be spent of what it had left."""
        ahead = self.ahead.pop(call_id, None)
        return ahead.parts if ahead is not None and ahead.is_held_again else ()

    async def in_doubt_and_written(self) -> set[str]:
        """Ids of calls whose rows the ledger has, though it has not said so. Nothing is on its way
        to it when that is known."""
        found = set()
        for late in tuple(self.late):
            if late.writing is not None:
                await asyncio.wait([late.writing])
            if late.in_doubt and await self._is_written(late.rows[0].id):
                found.add(late.rows[0].id)
        return found

    async def forget(self, call_id: str) -> None:
        """The call's rows will never be there, and nothing is charged."""
        ahead = self.ahead.pop(call_id, None)
        if ahead is not None:
            with contextlib.suppress(StorageUnavailable):  # it ends by itself
                await self._let_go(ahead)

    async def hold_again(self, noted: NotedRows | None) -> None:
        """Nothing of it changes in a store that knows it. ``noted`` learns of rows that are written
        after all. Raises StorageUnavailable."""
        for late in tuple(self.late):
            if late.writing is not None:
                await asyncio.wait([late.writing])
            if late.in_doubt and await self._is_written(late.rows[0].id):
                if noted is not None:
                    noted.note(late.rows)
                await self._let_go(late)
            else:
                await self._hold(late)
        for call_id, ahead in tuple(self.ahead.items()):
            if await self._is_written(call_id):  # a job that went on elsewhere
                del self.ahead[call_id]
                await self._let_go(ahead)
            else:
                await self._hold(ahead)

    async def _hold(self, charged: _Charged) -> None:
        for hold in charged.amounts():
            charged.is_held_again = True
            await self._shared.reinstate(hold.id, hold.claims, _HELD_AGAIN_S)

    async def _let_go(self, charged: _Charged) -> None:
        for hold, _ in charged.parts if charged.is_held_again else ():
            await self._shared.release(hold.id)
        charged.is_held_again = False

    async def _is_written(self, row_id: str) -> bool:
        return any(row.id == row_id and row.ended_at for row in await self._ledger.rows(row_id))
