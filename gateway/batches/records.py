"""What is written down of a batch, as JSON: in whose name it is, what its lines name, and what is
wrong with one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.jobs.records import JobFault, fault_of
from gateway.types import ApiError, Principal


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """In whose name its lines are called, and which models they name."""

    principal: Principal
    models: dict[str, str] = {}
    """Alias -> the model that it stood for when the batch was accepted."""


class InputFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a line of the input."""

    line: int
    code: str
    message: str
    param: str | None = None


_request = msgspec.json.Decoder(BatchRequest).decode
_faults = msgspec.json.Decoder(list[InputFault]).decode
_encode = msgspec.json.Encoder().encode


def read_batch_request(text: str) -> BatchRequest:
    return _request(text)


def read_faults(text: str) -> list[InputFault]:
    """An empty text is none."""
    return _faults(text) if text else []


def faults_text(faults: Sequence[InputFault]) -> str:
    """As the store keeps them."""
    return _encode(faults).decode()


def refused_text(error: ApiError) -> str:
    """Why a line was never run."""
    return _encode(fault_of(error)).decode()


def not_run_text(code: str, message: str) -> str:
    """Of a line that was not begun because its batch ended before."""
    return _encode(JobFault(message=message, type="batch_error", code=code, status=0)).decode()
