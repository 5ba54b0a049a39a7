"""How large the batches of a schedule are, by the last one that it has begun."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from gateway.batches.input import LineFault, lines_of
from gateway.files.files import Files
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.schedules.payers import model_of
from gateway.storage.base import StorageUnavailable
from gateway.storage.batches.base import BatchStore, StoredBatch
from gateway.storage.schedules.base import ScheduleStore

_RUNS = 10
"""The newest instants, among which the last good batch is looked for."""
_LONGEST_LINE = 1 << 20


class BatchForecast(NamedTuple):
    """Lines of a batch, and the model that the first one calls."""

    lines: int
    model: str


class _Body(msgspec.Struct):
    model: str = ""


class _Line(msgspec.Struct):
    body: _Body


_decode = msgspec.json.Decoder(_Line).decode


class LastBatches:
    """Of the schedules of one gateway."""

    def __init__(self, schedules: ScheduleStore, batches: BatchStore, files: Files) -> None:
        self._schedules = schedules
        self._batches = batches
        self._files = files

    async def size_of(self, name: str, schedule: ScheduleSpec) -> BatchForecast | None:
        """None: it has begun none, or none of which anything is known still."""
        try:
            last = await self._last(name)
            if last is None:
                return None
            model = model_of(schedule) or await self._model(last)
        except StorageUnavailable:
            return None
        return BatchForecast(last.total, model) if model else None

    async def _last(self, name: str) -> StoredBatch | None:
        """Whose input was good, and was looked at by now."""
        for run in await self._schedules.runs(name, _RUNS):
            batch = await self._batches.get(run.work) if run.outcome == "begun" else None
            if batch is not None and batch.total:
                return batch
        return None

    async def _model(self, batch: StoredBatch) -> str:
        try:
            async with self._files.read(batch.input_file) as pieces:
                async for line in lines_of(pieces, _LONGEST_LINE):
                    return _decode(line.text).body.model
        except (LookupError, LineFault, msgspec.DecodeError):
            return ""
        return ""
