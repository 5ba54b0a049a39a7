"""Files and batches of a gateway, put together: what callers store, and what is run of it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import NamedTuple

from gateway.api.batches.line_calls import read_call
from gateway.api.calls.resolved_parts import parts_in_body
from gateway.batches.batches import Batches
from gateway.files.files import FilePlaces, Files
from gateway.files.inputs import FileInputs
from gateway.jobs.large import LargeBodies
from gateway.service import Gateway
from gateway.storage.batches.base import BatchStore


class StoredWork(NamedTuple):
    """Where files are, and batches, both in the ledger's own store."""

    files: FilePlaces
    batches: BatchStore


def serve_stored(gateway: Gateway, stored: StoredWork) -> None:
    """Takes files, and batches where there are jobs, from the start on."""
    files = gateway.stored_files = Files(
        places=stored.files,
        settings=lambda: gateway.active.policy.files,
        clock=gateway.clock,
    )
    inputs = gateway.file_inputs = FileInputs(
        files,
        lambda: gateway.active.policy.files,
        most=lambda: gateway.active.policy.server.max_body,
        parts=parts_in_body,
    )
    if gateway.jobs is not None:
        large = LargeBodies(files, inputs, lambda: gateway.active.policy.files, gateway.clock)
        gateway.jobs.worker.large = large
        gateway.batches = Batches(
            name=secrets.token_hex(8),
            store=stored.batches,
            files=files,
            jobs=gateway.jobs,
            dispatcher=gateway.dispatcher,
            active=lambda: gateway.active,
            read=read_call,
            keys=gateway.keys.list,
            clock=gateway.clock,
        )


@contextlib.asynccontextmanager
async def stored_running(gateway: Gateway) -> AsyncIterator[None]:
    """While files are swept away in time, and batches worked at."""
    files, batches = gateway.stored_files, gateway.batches
    if files is not None:
        gateway.run_forever(files.run())
    if batches is not None:
        gateway.run_forever(batches.run())
    try:
        yield
    finally:
        if batches is not None:
            await batches.aclose()
        if files is not None:
            await files.aclose()
