"""What a platform says of the slower attempt when that is stopped is what it is charged."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.fake import After
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.storage.base import Claim, LedgerRow
from gateway.types import NANO
from tests.gateway.assembled import AssembledGateway, assembled, read
from tests.gateway.hedging.calls import (
    LIMIT,
    USED,
    answered,
    at_both,
    nothing_is_left,
    policy,
    runs,
)

SECONDS = policy("seconds", route=", repeat: always")
SPEND = "spend: 5 USD/month"
LARGER = SECONDS.replace(
    "  chat: {task: chat, backends: [first, second, third], slo: 5s}\n",
    """  chat: {task: chat, backends: [third], larger: long}
  long: {task: chat, backends: [first, second], slo: 5s, larger: longest}
  longest: {task: chat, backends: [third]}
""",
)
SCOPES = ("model:long", "tag:team=nlp", "user:alice", "gateway")
EVERYWHERE = f"""limits:
  backends: {{first: {{{SPEND}}}, second: {{{SPEND}}}}}
  models: {{long: {{{SPEND}}}, longest: {{{SPEND}}}}}
  tags: {{team: {{nlp: {{{SPEND}}}}}}}
  {SPEND}
"""
ANSWER = Reply(body=b"{}", usage=USED)
TOO_LONG = BackendError(
    FailureClass.CONTEXT_TOO_LONG, "too many tokens", status=400, code="context_length_exceeded"
)
LIMITED = f"{SECONDS}limits: {{backends: {{first: {{{SPEND}}}, second: {{{SPEND}}}}}}}\n"


@pytest.mark.parametrize("said_s", [0.5, 2.0, 9.0])
async def test_what_is_said_after_the_call_was_written_has_a_row_for_what_that_lacks(
    said_s: float, tmp_path: Path, clock: FakeClock
) -> None:
    """And takes nothing back: an estimate that was too much stays."""
    async with assembled(tmp_path, clock, SECONDS) as gateway:
        runs(gateway, first=60.0, second=3.0)
        gateway.fake("first").said_when_stopped = Usage(exec_s=said_s, reported=True)
        state, _ = await answered(gateway)
        rows = await nothing_is_left(gateway, state.call.id)
        lost = [row for row in rows if row.backend == "first"]
        estimated, said = lost[0].cost_nano, round(said_s * NANO / 1000)
        assert sum(row.cost_nano for row in lost) == max(estimated, said)
        assert [row.id.partition("#")[2] for row in lost] == ["1", "1+"][: 1 + (said > estimated)]


async def test_what_is_said_while_the_call_goes_on_is_what_its_row_says(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Of a second attempt that has used up what was held for it."""
    async with assembled(tmp_path, clock, SECONDS) as gateway:
        runs(gateway, first=40.0, second=60.0)
        gateway.fake("second").said_when_stopped = Usage(exec_s=0.25, reported=True)
        state, _ = await answered(gateway)
        rows = await nothing_is_left(gateway, state.call.id)
        [lost] = [row for row in rows if row.backend == "second"]
        assert (lost.cost_nano, lost.cost_basis) == (250_000, "reported")
        assert state.tried[0].cost_nano == 250_000


async def rows_over_a_reload(gateway: AssembledGateway, lost: str, text: str) -> list[LedgerRow]:
    """Of a call at both backends, while a reload brings limits: the platform of the one that lost
    says nine seconds when it is stopped."""
    gateway.fake(lost).said_when_stopped = Usage(exec_s=9.0, reported=True)
    state, task = await at_both(gateway, b'{"model": "chat"}')
    await gateway.inner.apply(read(text))
    await gateway.until_done([task], step=0.25)
    return await nothing_is_left(gateway, state.call.id)


@pytest.mark.parametrize(
    ("first_s", "second_s", "lost"), [(60.0, 3.0, "first"), (40.0, 60.0, "second")]
)
async def test_the_limits_of_its_backend_count_what_is_said(
    first_s: float, second_s: float, lost: str, tmp_path: Path, clock: FakeClock
) -> None:
    """After the call was written, and while it goes on; limits that a reload brings meanwhile."""
    async with assembled(tmp_path, clock, SECONDS) as gateway:
        runs(gateway, first=first_s, second=second_s)
        rows = await rows_over_a_reload(gateway, lost, LIMITED)
        spent = sum(row.cost_nano for row in rows if row.backend == lost)
        claim = Claim(f"backend:{lost}", "nano_usd", "month", LIMIT, 0)
        [status] = await gateway.inner.shared.statuses([claim])
        assert (spent, LIMIT - status.remaining) == (9_000_000, 9_000_000)


@pytest.mark.parametrize(
    ("first_s", "second_s", "lost"), [(60.0, 3.0, "first"), (40.0, 60.0, "second")]
)
async def test_the_limits_of_every_scope_count_what_is_said_of_a_larger_model(
    first_s: float, second_s: float, lost: str, tmp_path: Path, clock: FakeClock
) -> None:
    """After the call was written, and while it goes on; limits that a reload brings meanwhile."""
    async with assembled(tmp_path, clock, LARGER) as gateway:
        gateway.fake("third").answers = lambda _: TOO_LONG
        runs(gateway, first=first_s, second=second_s)
        rows = await rows_over_a_reload(gateway, lost, LARGER + EVERYWHERE)
        spent = await spent_in(gateway, *SCOPES, f"backend:{lost}")
        everything = sum(row.cost_nano for row in rows)
        assert {row.model for row in rows} == {"long"}
        assert spent == [everything] * len(SCOPES) + [9_000_000]


async def test_a_larger_model_that_the_call_has_left_counts_what_is_said_of_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its second attempt has used up what was held for it, and the first finds the prompt too long
    before the platform of the second says what that has used."""
    async with assembled(tmp_path, clock, LARGER) as gateway:
        first, second, third = map(gateway.fake, ("first", "second", "third"))
        third.answers = lambda call: TOO_LONG if call.model == "chat" else ANSWER
        first.answers = lambda _: After(40.0, TOO_LONG)
        second.runs_for, second.stops_in = 60.0, 40.0
        second.said_when_stopped = Usage(exec_s=9.0, reported=True)
        state, task = await at_both(gateway, b'{"model": "chat"}')
        await gateway.inner.apply(read(LARGER + EVERYWHERE))
        third.runs_for = 8.0
        await gateway.until_done([task], step=0.25)
        rows = await nothing_is_left(gateway, state.call.id)
        of_long = [row for row in rows if row.model == "long"]
        assert [row.cost_nano for row in of_long if row.backend == "second"] == [9_000_000]
        spent = await spent_in(gateway, "model:long", "model:longest", "backend:second")
        assert spent == [sum(row.cost_nano for row in of_long), rows[0].cost_nano, 9_000_000]


async def spent_in(gateway: AssembledGateway, *scopes: str) -> list[int]:
    claims = [Claim(scope, "nano_usd", "month", LIMIT, 0) for scope in scopes]
    return [LIMIT - one.remaining for one in await gateway.inner.shared.statuses(claims)]
