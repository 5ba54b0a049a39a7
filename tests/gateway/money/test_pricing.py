"""A call's price is exact arithmetic."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Usage
from gateway.money.pricing import FREE, MOST_TOKENS, Expectation, charge, credible, estimate
from gateway.policy.sections.price import Price
from gateway.types import NANO

EXPECTED = Expectation(
    exec_s=1.0,
    exec_high_s=3.0,
    cold_s=5.0,
    input_tokens=10,
    input_high_tokens=100,
    output_tokens=50,
)


def test_a_backend_without_a_price_costs_nothing() -> None:
    """No price, no charge, whatever was used."""
    assert charge(None, Usage(exec_s=100.0, gpu_s=100.0, output_tokens=9)) == 0
    assert estimate(None, EXPECTED) is FREE


def test_seconds_are_charged_as_the_price_bills_them() -> None:
    """A start is charged only where the platform bills it."""
    usage = Usage(exec_s=2.0, cold_s=10.0)
    running = Price(per_second=1_160_000)
    starting = Price(per_second=1_160_000, bills=("start", "run"))
    assert charge(running, usage) == 2_320_000
    assert charge(starting, usage) == 13_920_000


def test_a_call_fee_comes_on_top_of_the_seconds() -> None:
    """A fee for each call and a rate for its seconds add up."""
    assert charge(Price(per_call=NANO // 4, per_second=240_000), Usage(exec_s=10.0)) == (
        250_000_000 + 2_400_000
    )


def test_a_reserved_machine_charges_the_share_that_a_call_had_of_it() -> None:
    """Half a second's share of a machine at 2.69 USD an hour."""
    price = Price(per_hour=2_690_000_000)
    assert charge(price, Usage(exec_s=4.0, gpu_s=0.5)) == round(2_690_000_000 * 0.5 / 3600)


def test_tokens_are_charged_to_the_nano_dollar_and_rounded_up() -> None:
    """Half a token's price is never given away."""
    price = Price(per_million_input=500_000_000, per_million_output=1_500_000_000)
    assert charge(price, Usage(input_tokens=1_000_000, output_tokens=2)) == 500_003_000
    assert charge(Price(per_million_input=1), Usage(input_tokens=1)) == 1


FIGURES = st.one_of(
    st.none(), st.integers(), st.floats(), st.sampled_from([MOST_TOKENS, MOST_TOKENS + 1])
)


@given(st.fixed_dictionaries(dict.fromkeys(Usage.__struct_fields__[:6], FIGURES)))
def test_no_figure_of_a_backend_pays_a_caller_or_passes_what_the_ledger_can_sum(
    said: dict[str, Any],
) -> None:
    """Negative, infinite, no number: such a figure counts as not said, and others stay."""
    price = Price(per_second=2_000_000, per_million_output=75_000_000_000, bills=("start", "run"))
    usage = credible(Usage(**said))
    assert 0 <= charge(price, usage) < 2**63 // 1000
    for name, figure in said.items():
        assert getattr(usage, name) in (figure, None)
        if figure is not None and 0 <= figure <= 1_000_000:
            assert getattr(usage, name) == figure


def test_the_platforms_own_figure_wins() -> None:
    """Where a platform states what a call cost, nothing is computed."""
    assert charge(Price(per_second=NANO), Usage(exec_s=5.0, cost_nano=42)) == 42


def test_a_reserved_backend_adds_nothing_to_the_bill_but_holds_its_share() -> None:
    """The router sees it as free; the ledger charges its share; the hold covers the long run."""
    found = estimate(Price(per_hour=3_600_000_000), EXPECTED)
    assert found.marginal == 0
    assert found.charge == 1_000_000
    assert found.hold == 3_000_000
    assert found.per_second == 1_000_000


def test_the_hold_covers_every_token_that_the_call_may_take() -> None:
    """No input has more tokens than bytes, and the output is bounded by the request."""
    found = estimate(Price(per_million_input=10**6, per_million_output=10**6), EXPECTED)
    assert (found.charge, found.hold) == (60, 150)
