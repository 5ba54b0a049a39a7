"""What a caller asks of /v1/batches, read and understood."""

from __future__ import annotations

import re

import msgspec

from adapters.settings import parse_duration
from gateway.api.batches.line_calls import endpoints, is_endpoint
from gateway.api.calls.openai import invalid_field
from gateway.api.requests.bodies import malformed, parse_strict_json
from gateway.api.requests.request import RequestContext
from gateway.batches.batches import AskedBatch
from gateway.files.files import Files
from gateway.policy.syntax.scalars import parse_nano_usd
from gateway.types import ApiError

BUDGET_HEADER = b"x-spillgate-budget"
_BUDGET_KEY = "spillgate_budget"
_LONGEST_S = 7 * 86_400.0
_MOST_METADATA, _LONGEST_KEY, _LONGEST_VALUE = 16, 64, 512


class BatchBody(msgspec.Struct, frozen=True, kw_only=True):
    """Of POST /v1/batches; fields that are not here are OpenAI's own, and mean nothing here."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


_decode = msgspec.json.Decoder(BatchBody).decode


async def asked_batch(files: Files, context: RequestContext, body: bytes) -> AskedBatch:
    """Raises ApiError 400 with what is wrong and where, and 404 for a file that is not there."""
    parse_strict_json(body)
    try:
        read = _decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except msgspec.DecodeError as error:
        raise malformed(error, body) from None
    if not is_endpoint(read.endpoint):
        raise _wrong(f"`endpoint` is {endpoints()}.", "endpoint")
    file = await files.own(read.input_file_id, context.principal)
    if file.purpose != "batch":
        raise _wrong(f"The purpose of that file is {file.purpose}, not batch.", "input_file_id")
    return AskedBatch(
        endpoint=read.endpoint,
        input_file=file.id,
        within=read.completion_window,
        within_s=_within_s(read.completion_window),
        budget_nano=_budget(context, read.metadata),
        metadata=_metadata(read.metadata),
        principal=context.principal,
    )


def _within_s(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= _LONGEST_S:
        message = "`completion_window` is a span of up to 7 days, such as 24h, 8h or 30m."
        raise _wrong(message, "completion_window")
    return seconds


def _metadata(given: dict[str, str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    fits = all(len(key) <= _LONGEST_KEY and len(given[key]) <= _LONGEST_VALUE for key in given)
    if len(given) > _MOST_METADATA or not fits:
        message = (
            f"`metadata` has at most {_MOST_METADATA} keys of {_LONGEST_KEY} characters, with "
            f"values of {_LONGEST_VALUE}."
        )
        raise _wrong(message, "metadata")
    return given


def _budget(context: RequestContext, metadata: dict[str, str] | None) -> int | None:
    """Nano-dollars: of the header, else of the metadata."""
    header = context.headers.get(BUDGET_HEADER)
    where = "X-Spillgate-Budget" if header is not None else f"metadata.{_BUDGET_KEY}"
    text = header.decode("latin-1") if header is not None else (metadata or {}).get(_BUDGET_KEY)
    if text is None:
        return None
    try:
        amount = parse_nano_usd(re.sub(r"\s*USD\Z", "", text.strip()))
    except ValueError:
        amount = 0
    if amount <= 0:
        raise _wrong(f"{where} is an amount in US dollars, such as 5 or 5 USD.", where)
    return amount


def _wrong(message: str, param: str) -> ApiError:
    return ApiError(400, "invalid_field", message, param=param)
