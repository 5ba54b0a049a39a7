"""Of each act that an administrator did, a page shows one line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.keys.audit import acts_of
from gateway.storage.audit import Act, AuditEntry

DONE = st.sampled_from(["done", "refused: backend_not_found", ""])
"""How an act ended; empty: the gateway died meanwhile."""
WHAT = st.sampled_from(["backend.drain home", "backend.drain burst", "policy.apply "])


@given(acts=st.lists(st.tuples(WHAT, DONE)))
def test_an_act_is_told_by_its_end_and_by_its_beginning_only_where_it_has_none(
    acts: list[tuple[str, str]],
) -> None:
    told = []
    for what, end in acts:
        act, _, target = what.partition(" ")
        told += [(act, target, outcome) for outcome in ("begun", end) if outcome]
    log = [
        AuditEntry(
            number, Act(at=float(number), actor="os:me", act=act, target=target, outcome=how)
        )
        for number, (act, target, how) in enumerate(told, 1)
    ]
    shown = acts_of(log[::-1])
    assert [one.number for one in shown] == sorted((one.number for one in shown), reverse=True)
    assert [one.act.outcome for one in shown] == [end or "begun" for _, end in reversed(acts)]
    assert len(shown) == len(acts)


def test_what_is_written_with_the_change_has_no_beginning() -> None:
    made = AuditEntry(1, Act(at=1.0, actor="key:a", act="key.create", target="key_1"))
    assert acts_of([made]) == [made]
