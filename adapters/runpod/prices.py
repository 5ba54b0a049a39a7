"""What RunPod asks for a worker of one endpoint, read out of its catalogue. Pure.

The catalogue states US dollars a GPU-hour (``price.serverless``) for each GPU type. An endpoint
names its GPUs by type, by pool or by both, with types that it leaves out of a pool, and says how
many of them a worker has.

Assumed, for nothing here was run against the live platform: an endpoint's types are in ``gpu`` as
``types``, ``gpuTypeIds`` or ``ids``, its pools as ``pools`` and their exceptions as
``excludedTypes``; an entry of the catalogue names its pool as ``pool``. Where an endpoint's own
words lead to no entry, the GPUs of its workers are what is asked for.

Source: https://docs.runpod.io/api-reference-v2/catalog/list-gpu-types, as of 2026-09.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

import msgspec

from adapters.types import AskedPrice

_HOUR = 3600
_NANO = 1_000_000_000
_DEAREST = Decimal(10_000)
"""US dollars a GPU-hour; a figure above it is not believed."""


class Selection(msgspec.Struct, frozen=True, rename="camel"):
    """The ``gpu`` of an endpoint."""

    types: tuple[str, ...] | None = None
    gpu_type_ids: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    pools: tuple[str, ...] | None = None
    excluded_types: tuple[str, ...] | None = None
    count: int | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The types of GPU that it names, under whichever key."""
        return self.types or self.gpu_type_ids or self.ids or ()


class EndpointGpus(msgspec.Struct, frozen=True):
    """An endpoint, as far as its GPUs go; one on CPUs has none."""

    gpu: Selection | None = None


class WorkerGpus(msgspec.Struct, frozen=True, rename="camel"):
    """What one worker runs on."""

    gpu_type_id: str | None = None
    gpu_count: int | None = None


class EndpointWorkers(msgspec.Struct, frozen=True):
    """The workers of an endpoint that are there."""

    workers: tuple[WorkerGpus, ...] = ()


class _Rates(msgspec.Struct, frozen=True):
    serverless: Decimal | None = None


class CatalogueEntry(msgspec.Struct, frozen=True):
    """One type of GPU."""

    id: str
    pool: str | None = None
    price: _Rates | None = None

    @property
    def hour(self) -> Decimal | None:
        """US dollars a GPU-hour, where serverless workers may have it."""
        asked = None if self.price is None else self.price.serverless
        try:
            believed = asked is not None and 0 < asked <= _DEAREST
        except InvalidOperation:
            believed = False
        return asked if believed else None


class Catalogue(msgspec.Struct, frozen=True):
    """``/catalog/gpus``."""

    gpus: tuple[CatalogueEntry, ...]


def asked_of(selection: Selection, catalogue: Catalogue, source: str) -> list[AskedPrice]:
    """In the endpoint's own order; empty where nothing that it names has a price."""
    count = max(1, selection.count or 1)
    excluded = selection.excluded_types or ()
    named = [_entry(name, catalogue) for name in selection.named]
    pooled = [
        entry
        for pool in selection.pools or ()
        for entry in catalogue.gpus
        if pool in (entry.pool, entry.id) and entry.id not in excluded
    ]
    return _asked([*(entry for entry in named if entry is not None), *pooled], count, source)


def asked_by(workers: Sequence[WorkerGpus], catalogue: Catalogue, source: str) -> list[AskedPrice]:
    """What the workers that are there ask, each kind of them once."""
    found: dict[tuple[str, int], AskedPrice] = {}
    for worker in workers:
        entry = _entry(worker.gpu_type_id, catalogue)
        for asked in _asked([] if entry is None else [entry], worker.gpu_count or 1, source):
            found[asked.device, asked.devices] = asked
    return list(found.values())


def _entry(name: str | None, catalogue: Catalogue) -> CatalogueEntry | None:
    return next((entry for entry in catalogue.gpus if entry.id == name), None)


def _asked(entries: Iterable[CatalogueEntry], count: int, source: str) -> list[AskedPrice]:
    once = {entry.id: entry for entry in entries}
    return [
        AskedPrice(
            per_second_nano=int((entry.hour * count * _NANO / _HOUR).to_integral_value()),
            device=entry.id,
            devices=count,
            source=source,
        )
        for entry in once.values()
        if entry.hour is not None
    ]
