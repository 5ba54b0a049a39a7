"""What a call is charged whose gateway died: what it held, and of a job whose attempts before are
known what its last one held."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.money.settling.interrupted import interrupted
from gateway.storage.base import Claim, Hold, LedgerRow
from gateway.types import Unit
from tests.gateway.storage.sqlite.ledger_rows import settled_row

NOW = 1_800_000_000.0
AMOUNTS = st.integers(0, 1000)


def claims(scope: str, **amounts: int) -> tuple[Claim, ...]:
    units: dict[str, Unit] = {"nano": "nano_usd", "gpu": "gpu_us"}
    return tuple(Claim(scope, units[name], "month", 10_000, take) for name, take in amounts.items())


def open_row(nano: int, gpu: int, there: Hold | None) -> LedgerRow:
    held = claims("user:alice", nano=nano, gpu=gpu)
    return settled_row("job", outcome="open", claims=held, hold_nano=nano, at_backend=there)


@given(nano=AMOUNTS, gpu=AMOUNTS, at_backend=st.none() | st.tuples(AMOUNTS, AMOUNTS))
def test_all_that_is_held_is_charged_where_nobody_knows_what_was_spent_before(
    nano: int, gpu: int, at_backend: tuple[int, int] | None
) -> None:
    ended = interrupted(open_row(nano, gpu, hold_of(at_backend)), NOW)
    assert (ended.outcome, ended.cost_nano, ended.gpu_us) == ("interrupted", nano, gpu)


@given(
    nano=AMOUNTS,
    gpu=AMOUNTS,
    at_backend=st.none() | st.tuples(AMOUNTS, AMOUNTS),
    spent=st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=3),
)
def test_a_job_is_charged_no_more_than_is_left_of_its_hold_and_held_at_its_backend(
    nano: int, gpu: int, at_backend: tuple[int, int] | None, spent: list[tuple[int, int]]
) -> None:
    failed = [
        settled_row(f"job#{number}", kind="attempt", cost_nano=cost, gpu_us=us)
        for number, (cost, us) in enumerate(spent)
    ]
    ended = interrupted(open_row(nano, gpu, hold_of(at_backend)), NOW, failed)
    left = max(0, nano - sum(cost for cost, _ in spent)), max(0, gpu - sum(us for _, us in spent))
    there = left if at_backend is None else at_backend
    assert (ended.cost_nano, ended.gpu_us) == (min(left[0], there[0]), min(left[1], there[1]))
    assert ended.cost_basis == ("estimated" if ended.cost_nano else "none")


def hold_of(amounts: tuple[int, int] | None) -> Hold | None:
    if amounts is None:
        return None
    return Hold("job@burst.0", claims("backend:burst", nano=amounts[0], gpu=amounts[1]))
