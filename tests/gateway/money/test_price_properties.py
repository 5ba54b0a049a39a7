"""What holds of every price and every usage."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import TokenParts, Usage
from gateway.money.charge_records import amounts_of, lines_of, price_of, record_of
from gateway.money.estimates import cost_basis
from gateway.money.pricing import Expectation, charge, charge_lines, estimate, microseconds
from gateway.policy.sections.price import RATES, Price
from gateway.storage.base import LedgerRow
from gateway.storage.history import CallHistory

RATE = st.none() | st.integers(0, 10**11)
COUNT = st.integers(0, 2_000_000)
SECONDS = st.integers(0, 10_000_000).map(lambda us: us / 1_000_000)
BILLS: st.SearchStrategy[Any] = st.sampled_from(
    [("run",), ("start", "run"), ("start", "run", "idle")]
)
WHOLE = ("per_second", "per_million_input", "per_million_output")


@st.composite
def prices(draw: st.DrawFn) -> Price:
    rates: dict[str, Any] = {name: draw(RATE) for name in (*RATES, "per_hour")}
    rates |= {name: draw(st.integers(0, 10**11)) for name in WHOLE}
    rates |= {name: draw(st.none() | st.integers(1, 10**8)) for name in ("minimum", "round_up")}
    return Price(**rates, bills=draw(BILLS))


PARTS = st.builds(TokenParts, **dict.fromkeys(TokenParts.__struct_fields__, COUNT))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    return Usage(
        input_tokens=draw(COUNT),
        output_tokens=draw(COUNT),
        exec_s=draw(SECONDS),
        gpu_s=draw(SECONDS),
        cold_s=draw(SECONDS),
        parts=draw(st.none() | PARTS),
        images=draw(st.none() | st.integers(0, 9)),
        audio_s=draw(st.none() | SECONDS),
    )


@given(prices(), usages())
def test_the_parts_of_a_charge_add_up_to_it_in_whole_nano_dollars(
    price: Price, usage: Usage
) -> None:
    lines = charge_lines(price, usage)
    total = charge(price, usage)
    assert sum(line.cost_nano for line in lines) == total
    figures = [figure for line in lines for figure in msgspec.structs.astuple(line)[1:]]
    assert all(type(figure) is int for figure in (total, *figures))
    assert all(line.cost_nano >= 0 for line in lines)


@given(
    prices(),
    usages(),
    st.sampled_from(
        ["input_tokens", "output_tokens", "exec_s", "gpu_s", "cold_s", "images", "audio_s"]
    ),
    st.integers(1, 5000),
)
def test_more_use_never_costs_less(price: Price, usage: Usage, what: str, more: int) -> None:
    raised = (getattr(usage, what) or 0) + more
    assert charge(price, msgspec.structs.replace(usage, **{what: raised})) >= charge(price, usage)


@given(prices(), usages(), st.data())
def test_the_hold_covers_every_use_within_its_bounds(
    price: Price, most: Usage, data: st.DataObject
) -> None:
    """Whatever the tokens turn out to be, and however much less was used."""
    expected = Expectation(
        exec_s=0.0,
        exec_high_s=most.exec_s or 0.0,
        cold_s=most.cold_s or 0.0,
        input_tokens=0,
        input_high_tokens=most.input_tokens or 0,
        output_tokens=most.output_tokens or 0,
        images=most.images or 0,
        audio_s=most.audio_s or 0.0,
    )
    share = data.draw(st.integers(0, 100)) / 100
    used = Usage(
        input_tokens=int((most.input_tokens or 0) * share),
        output_tokens=int((most.output_tokens or 0) * share),
        exec_s=(most.exec_s or 0.0) * share,
        gpu_s=(most.exec_s or 0.0) * share,
        cold_s=(most.cold_s or 0.0) * share,
        parts=data.draw(st.none() | PARTS),
        images=int((most.images or 0) * share),
        audio_s=(most.audio_s or 0.0) * share,
    )
    found = estimate(price, expected)
    assert found.hold >= charge(price, used)
    assert all(type(figure) is int for figure in msgspec.structs.astuple(found))


@given(prices(), usages())
def test_a_row_tells_its_charge_again_long_after_the_price_is_gone(
    price: Price, usage: Usage
) -> None:
    """From what the ledger keeps, to the nano-dollar; through its JSON and back."""
    kept = CallHistory(price=record_of(price), amounts=amounts_of(usage))
    row = LedgerRow(
        id="r",
        started_at=0.0,
        key_id="k",
        user="u",
        model="m",
        task="chat",
        backend="b",
        outcome="success",
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        cold_us=microseconds(usage.cold_s),
        exec_us=microseconds(usage.exec_s),
        gpu_us=microseconds(usage.gpu_s),
        history=msgspec.json.decode(msgspec.json.encode(kept), type=CallHistory),
    )
    assert lines_of(row) == charge_lines(price, usage)


def test_a_row_of_an_earlier_version_has_no_price_and_no_parts() -> None:
    kept = msgspec.json.decode(b"[2.0,[],[],[]]", type=CallHistory)
    assert (kept.price, kept.amounts) == (None, {})


@given(prices(), st.integers(-(10**6), -1))
def test_a_part_below_zero_pays_nobody(price: Price, tokens: int) -> None:
    usage = Usage(input_tokens=100, output_tokens=100)
    odd = msgspec.structs.replace(usage, parts=TokenParts(cached=tokens, reasoning=tokens))
    assert charge(price, odd) == charge(price, usage)


@given(prices())
def test_a_fingerprint_is_of_all_that_decides_over_a_charge(price: Price) -> None:
    record = record_of(price)
    assert record_of(price_of(record)) == record
    dearer = msgspec.structs.replace(price, per_second=(price.per_second or 0) + 1)
    assert record_of(dearer).fingerprint != record.fingerprint
    looked_up = msgspec.structs.replace(price, as_of="2026-11-09", source="elsewhere")
    assert record_of(looked_up).fingerprint == record.fingerprint


@given(usages())
def test_figures_that_contradict_each_other_are_marked(usage: Usage) -> None:
    price = Price(per_million_input=10, per_million_output=10)
    parts = usage.parts or TokenParts()
    too_many = max(parts.cached, parts.audio_input) > (usage.input_tokens or 0)
    if too_many or parts.reasoning > (usage.output_tokens or 0):
        assert cost_basis(price, usage, 5) == "estimated"
    if usage.parts is None:
        assert cost_basis(price, usage, 5) == "reported"
