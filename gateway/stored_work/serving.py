"""Files, batches and schedules of a gateway, put together: what callers store, and what is run of
it."""

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
from gateway.jobs.jobs import Jobs
from gateway.jobs.large import LargeBodies
from gateway.schedules.ahead import SchedulesAhead
from gateway.schedules.last_batches import LastBatches
from gateway.schedules.one_instant import InstantWork
from gateway.schedules.scheduler import Scheduler
from gateway.service import Gateway
from gateway.storage.batches.base import BatchStore
from gateway.storage.schedules.base import ScheduleStore
from gateway.stored_work.scheduled_inputs import read_input


class StoredWork(NamedTuple):
    """Where files are, batches and how far schedules have come, all in the ledger's own store."""

    files: FilePlaces
    batches: BatchStore
    schedules: ScheduleStore | None = None


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
        if stored.schedules is not None:
            gateway.schedules = _scheduler(
                gateway, stored.schedules, gateway.jobs, gateway.batches, files
            )


def _scheduler(
    gateway: Gateway, store: ScheduleStore, jobs: Jobs, batches: Batches, files: Files
) -> Scheduler:
    work = InstantWork(
        store=store,
        jobs=jobs,
        batches=batches,
        files=files,
        dispatcher=gateway.dispatcher,
        active=lambda: gateway.active,
        read=read_input,
        keys=gateway.keys.list,
        clock=gateway.clock,
    )
    ahead = SchedulesAhead(
        lambda: gateway.active.policy.schedules,
        LastBatches(store, batches.store, files).size_of,
        gateway.clock,
    )
    return Scheduler(
        name=secrets.token_hex(8),
        store=store,
        schedules=lambda: gateway.active.policy.schedules,
        since=lambda: gateway.active_since,
        work=work,
        ahead=ahead,
        clock=gateway.clock,
    )


@contextlib.asynccontextmanager
async def stored_running(gateway: Gateway) -> AsyncIterator[None]:
    """While files are swept away in time, batches worked at, and schedules kept."""
    files, batches, schedules = gateway.stored_files, gateway.batches, gateway.schedules
    if files is not None:
        gateway.run_forever(files.run())
    if batches is not None:
        gateway.run_forever(batches.run())
    if schedules is not None:
        gateway.run_forever(schedules.run())
    try:
        yield
    finally:
        if schedules is not None:
            await schedules.aclose()
        if batches is not None:
            await batches.aclose()
        if files is not None:
            await files.aclose()
