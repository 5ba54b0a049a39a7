"""Calls at a price by tokens whose backend does not say how many there were."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass, Ran
from adapters.types import Chunk, Reply, Usage
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.money.test_asked_tokens import BY_TOKENS, CHAT

ROLE = Chunk(b'data: {"role"}\n\n', tokens=0)
WORD = Chunk(b'data: {"word"}\n\n')
WORDS = Chunk(b'data: {"word"}\r\n\r\n' * 2)
LONG = Chunk(b'data: {"much"}\n\n', tokens=40)
DONE = Chunk(b"data: [DONE]\n\n", "done")


async def row_of(gateway: AssembledGateway, *, stream: bool = False, **more: object) -> LedgerRow:
    asked = {**CHAT, "stream": stream, **more}
    async with gateway.client() as client:
        answer = await client.post("/v1/chat/completions", json=asked)
    return await gateway.row(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("usage", "tokens", "basis"),
    [
        (Usage(input_tokens=1, output_tokens=2), 2, "reported"),
        (Usage(text_tokens=30), 30, "estimated"),
        (Usage(input_tokens=1, text_tokens=30), 30, "estimated"),
        (Usage(total_tokens=1000), 999, "estimated"),
        (Usage(output_tokens=-3, text_tokens=30), 30, "estimated"),
        (Usage(input_tokens=1, output_tokens=0, text_tokens=30), 30, "estimated"),
        (Usage(input_tokens=0, output_tokens=0, text_tokens=30), 30, "estimated"),
        (Usage(total_tokens=0, text_tokens=30), 30, "estimated"),
        (Usage(input_tokens=1, output_tokens=900_000_000, text_tokens=30), 30, "estimated"),
        (Usage(input_tokens=900_000_000, output_tokens=30), 30, "estimated"),
        (Usage(total_tokens=900_000_000, text_tokens=30), 30, "estimated"),
    ],
)
async def test_a_whole_answer_is_charged_for_what_it_probably_is(
    usage: Usage, tokens: int, basis: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        gateway.fake("burst").tell(Reply(body=b"{}", usage=usage))
        row = await row_of(gateway)
    assert (row.input_tokens, row.output_tokens) == (1, tokens)
    assert (row.cost_nano, row.cost_basis) == (tokens * 1000, basis)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("stated", "charged"), [(5, 5), (1030, 1030), (1031, 5)])
async def test_no_more_output_is_charged_than_was_asked_for_with_a_margin(
    stated: int, charged: int, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """What has come of a stream goes before what was asked for."""
    used = Usage(input_tokens=1, output_tokens=stated)
    told = Chunk(b'data: {"usage"}\n\n', "usage", used)
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        answer = [WORD, told, DONE] if stream else Reply(body=b"{}", usage=used)
        gateway.fake("burst").tell(answer)
        row = await row_of(gateway, stream=stream, max_tokens=5)
    expected = 1 if stream and charged != stated else charged
    assert (row.input_tokens, row.output_tokens) == (1, expected)
    assert row.cost_basis == ("reported" if charged == stated else "estimated")


async def test_only_the_text_of_a_stream_is_charged(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        gateway.fake("burst").tell([ROLE, WORD, WORDS, LONG, ROLE, DONE])
        row = await row_of(gateway, stream=True)
    assert (row.input_tokens, row.output_tokens, row.cost_basis) == (1, 43, "estimated")


NONE_YET = Usage(input_tokens=1, output_tokens=0)


@pytest.mark.parametrize(
    "pieces",
    [
        [Chunk(b"data: {}\n\n", usage=NONE_YET, tokens=0), *[WORD] * 50, DONE],
        [*[WORD] * 50, Chunk(b"data: {}\n\n", "usage", NONE_YET), DONE],
        [*[WORD] * 50, Chunk(b"data: [DONE]\n\n", "done", NONE_YET)],
        [Chunk(b"data: {}\n\n", usage=NONE_YET, tokens=0), *[WORD] * 50,
         BackendError(FailureClass.TRUNCATED, "it broke off")],
        [*[WORD] * 50, BackendError(FailureClass.TRUNCATED, "cut", usage=NONE_YET)],
    ],
    ids=["first", "last", "with the end", "first, and cut", "with the error"],
)  # fmt: skip
async def test_no_token_stated_beside_text_is_none_that_was_counted(
    pieces: list[Chunk | BackendError], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        gateway.fake("burst").tell(pieces)
        row = await row_of(gateway, stream=True)
    assert (row.output_tokens, row.cost_nano, row.cost_basis) == (50, 50_000, "estimated")


async def test_a_failure_that_states_no_tokens_is_charged_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    failed = BackendError(FailureClass.FAILED, "an error in a 200", usage=Usage(exec_s=2.0))
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        gateway.fake("burst").tell(failed)
        row = await row_of(gateway)
    assert (row.outcome, row.cost_nano) == ("error", 0)


BY_CALL = BY_TOKENS.replace("per_million_output: 1", "per_call: 0.5")


@pytest.mark.parametrize("prices", [BY_CALL, BY_TOKENS], ids=["by call", "by tokens"])
@pytest.mark.parametrize(
    "used",
    [None, Usage(exec_s=2.0), Usage(exec_s=2.0, gpu_s=2.0, worker="w", reported=True)],
    ids=["nothing said", "our clock", "its clock"],
)
@pytest.mark.parametrize("failure", list(FailureClass), ids=lambda f: f.slug)
async def test_a_call_that_brought_nothing_costs_nothing_where_time_is_free(
    failure: FailureClass, used: Usage | None, prices: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Whatever failed, and whoever measured how long it took."""
    async with assembled(tmp_path, clock, prices) as gateway:
        gateway.fake("burst").answers = lambda _: BackendError(failure, "no answer", usage=used)
        row = await row_of(gateway)
    assert (row.outcome, row.cost_nano) == ("error", 0)


@pytest.mark.parametrize("failure", list(FailureClass), ids=lambda f: f.slug)
async def test_the_fee_of_a_run_goes_with_the_seconds_of_the_run(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    """Where the seconds of a failed run are charged, so is the fee beside them; else neither."""
    used = None if failure.ran is Ran.NO else Usage(exec_s=2.0, reported=True)
    prices = BY_TOKENS.replace("per_million_output: 1", "per_second: 0.001, per_call: 0.5")
    async with assembled(tmp_path, clock, prices) as gateway:
        gateway.fake("burst").answers = lambda _: BackendError(failure, "no answer", usage=used)
        row = await row_of(gateway)
    assert row.cost_nano == (0 if used is None else 500_000_000 + 2_000_000)


@pytest.mark.parametrize("ran", Ran)
@pytest.mark.parametrize("bills", ["", "bills: [failed], "])
@pytest.mark.parametrize(
    ("prices", "cost"),
    [("", 500_000), ("per_call: 0.5", 500_000_000), ("per_image: 0.02", 64 * 20_000_000)],
)
async def test_what_a_failure_states_is_charged_where_its_price_bills_failed_calls(
    prices: str, cost: int, bills: str, ran: Ran, tmp_path: Path, clock: FakeClock
) -> None:
    used = Usage(exec_s=2.0, input_tokens=10, output_tokens=500, images=64)
    text = BY_TOKENS.replace("per_million_output: 1", f"{bills}{prices or 'per_million_output: 1'}")
    failure = BackendError(FailureClass.FAILED, "an error", usage=used, ran=ran)
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").answers = lambda _: failure
        row = await row_of(gateway)
    assert row.outcome == "error"
    assert row.cost_nano == (cost if bills and ran is not Ran.NO else 0)


async def test_a_price_of_time_and_tokens_charges_a_failure_its_time_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    used = Usage(exec_s=2.0, input_tokens=10, output_tokens=500, reported=True)
    text = BY_TOKENS.replace("per_million_output: 1", "per_million_output: 1, per_second: 0.001")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").tell(BackendError(FailureClass.FAILED, "an error", usage=used))
        row = await row_of(gateway)
    assert (row.outcome, row.cost_nano) == ("error", 2_000_000)
