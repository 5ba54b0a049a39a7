"""Modal calls that outlive the process that handed them over."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from grpclib import GRPCError, Status

from adapters.base import LongRunning
from adapters.errors import BackendError, FailureClass
from adapters.types import Handle
from tests.adapters.modal.backends import FUNCTIONS, TOKEN, backend_for, call
from tests.adapters.modal.platform import ModalPlatform, modal_running
from tests.adapters.scenarios import until


@pytest.fixture
def platform() -> Iterator[ModalPlatform]:
    with modal_running(FUNCTIONS, TOKEN) as running:
        yield running


async def test_a_job_goes_on_when_its_backend_is_closed_and_another_process_gets_its_answer(
    platform: ModalPlatform,
) -> None:
    first = backend_for(platform)
    assert isinstance(first, LongRunning)
    handle = await first.submit(call('{"sleep": 0.3, "echo": "hello"}'))
    assert (await first.poll(handle)).status == "running"
    await first.aclose()
    assert platform.count("FunctionCallCancel") == 0
    await until(lambda: platform.running == 0)
    second = backend_for(platform)
    written = msgspec.json.decode(msgspec.json.encode(handle), type=Handle)
    for _ in range(2):
        state = await second.poll(written)
        assert state.status == "done"
        assert state.reply is not None
        assert state.reply.body == b'"hello"'
        assert state.reply.usage.exec_s is not None
    await second.aclose()


async def test_a_job_that_failed_raises_why_and_charges_its_time(platform: ModalPlatform) -> None:
    backend = backend_for(platform)
    handle = await backend.submit(call('{"raise": "boo"}'))
    await until(lambda: platform.running == 0)
    with pytest.raises(BackendError, match="boo") as caught:
        await backend.poll(handle)
    assert caught.value.failure is FailureClass.FAILED
    assert caught.value.usage is not None
    await backend.aclose()


async def test_a_job_is_stopped_by_its_handle_and_stopping_it_again_is_nothing(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    handle = await backend.submit(call('{"sleep": 60}'))
    await backend.stop(handle)
    assert platform.running == 0
    await backend.stop(handle)
    platform.fail("FunctionCallCancel", GRPCError(Status.NOT_FOUND, "no such call"))
    await backend.stop(handle)
    await backend.aclose()


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (Status.UNAVAILABLE, FailureClass.AMBIGUOUS),
        (Status.RESOURCE_EXHAUSTED, FailureClass.OVERLOADED),
        (Status.NOT_FOUND, FailureClass.TIMEOUT),
    ],
    ids=lambda value: value.name,
)
async def test_a_question_that_failed_is_not_the_jobs_own_end(
    status: Status, failure: FailureClass, platform: ModalPlatform
) -> None:
    backend = backend_for(platform)
    handle = await backend.submit(call('{"sleep": 60}'))
    platform.fail("FunctionGetOutputs", *[GRPCError(status, "not now")] * 4)
    with pytest.raises(BackendError) as caught:
        await backend.poll(handle)
    assert caught.value.failure is failure
    assert caught.value.usage is None
    await backend.stop(handle)
    await backend.aclose()


async def test_a_stop_that_the_platform_did_not_hear_is_told(platform: ModalPlatform) -> None:
    backend = backend_for(platform)
    handle = await backend.submit(call('{"sleep": 60}'))
    platform.fail("FunctionCallCancel", *[GRPCError(Status.UNAVAILABLE, "down")] * 4)
    with pytest.raises(BackendError) as caught:
        await backend.stop(handle)
    assert caught.value.failure is FailureClass.UNREACHABLE
    await backend.aclose()
