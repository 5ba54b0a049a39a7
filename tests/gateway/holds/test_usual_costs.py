"""What is learned of what calls cost of what was held for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.holds.usual_costs import UsualCosts


def learned(shares: list[int], key: str = "key", model: str = "chat") -> UsualCosts:
    """From calls of which a hundred were held."""
    usual = UsualCosts()
    for share in shares:
        usual.observe(key, model, 100, share)
    return usual


def test_of_calls_of_which_nothing_is_known_nothing_comes_back() -> None:
    assert learned([]).surplus("key", "chat", 1000) == 0
    assert learned([10, 10]).surplus("key", "chat", 1000) == 0


def test_what_nine_of_ten_calls_stay_below_is_usual() -> None:
    assert learned([10] * 18 + [80, 80]).surplus("key", "chat", 1000) == 200
    assert learned([10] * 28 + [80, 80]).surplus("key", "chat", 1000) == 900


def test_the_last_calls_count_alone() -> None:
    assert learned([100] * 50 + [25] * 32).surplus("key", "chat", 1000) == 750
    assert learned([25] * 50 + [100] * 32).surplus("key", "chat", 1000) == 0


def test_a_new_key_is_taken_for_one_of_those_that_ask_the_same_model() -> None:
    usual = learned([25, 25, 25])
    assert usual.surplus("another", "chat", 1000) == 750
    assert usual.surplus("key", "code", 1000) == 0


def test_a_key_that_is_known_is_taken_for_itself() -> None:
    usual = learned([25] * 8, key="thrifty")
    for _ in range(3):
        usual.observe("lavish", "chat", 100, 90)
    assert usual.surplus("lavish", "chat", 1000) == 100
    assert usual.surplus("thrifty", "chat", 1000) == 750


def test_nothing_comes_back_of_a_call_that_costs_more_than_was_held() -> None:
    assert learned([300] * 4).surplus("key", "chat", 1000) == 0


def test_an_answer_as_long_as_most_is_not_cut_short() -> None:
    assert learned([25] * 4).least("key", "chat", 1000) == 250
    assert learned([]).least("key", "chat", 1000) == 125


@given(st.lists(st.integers(0, 100), min_size=3, max_size=90), st.integers(0, 10**12))
def test_the_mean_is_that_of_the_last_and_no_more_comes_back_than_is_held(
    shares: list[int], held: int
) -> None:
    usual, last = learned(shares), shares[-32:]
    assert abs(usual.mean("key", "chat") - sum(last) / len(last) / 100) < 1e-6
    assert 0 <= usual.surplus("key", "chat", held) <= held


def test_kinds_of_calls_are_forgotten_before_they_are_too_many() -> None:
    usual = UsualCosts()
    for number in range(10_000):
        usual.observe(f"key{number}", "chat", 100, 25)
    assert len(vars(usual)["_of_keys"]) == 4096
    assert usual.surplus("another", "chat", 1000) == 750
