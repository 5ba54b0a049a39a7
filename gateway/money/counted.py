"""How much a call counts for once it is charged, in which counters of the shared store, and for
which of them there are limits: what a restart fills again."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.money.scopes import (
    ACCOUNT,
    GATEWAY,
    WARM_POOL,
    backend_scope,
    key_scope,
    model_scope,
    plan_scope,
    tag_scope,
    user_scope,
)
from gateway.policy.model import Policy
from gateway.policy.sections.limits import Bounds
from gateway.storage.base import Hold, LedgerRow
from gateway.storage.counters import TOTALS
from gateway.storage.spent import Side, Spent
from gateway.types import MICRO, TOKEN_TAG, Limit, Principal, Unit

_PLACES = frozenset({"model", "backend"})
_SIDES: tuple[Side, ...] = ("callers", "places")

Limited = Mapping[str, set[tuple[str, Unit]]]
"""Window -> (kind of scope, unit) of each limit in it."""


def charged_of(rows: Sequence[LedgerRow], rest: bool = True) -> dict[Unit, int]:
    """What a call's rows count for together; without ``rest`` in money and device time alone. What
    nobody used counts for no limit."""
    nano_usd = gpu_us = 0
    for row in rows:
        if row.kind == "idle":
            continue
        nano_usd += row.cost_nano
        gpu_us += row.gpu_us
    charged: dict[Unit, int] = {"nano_usd": nano_usd, "gpu_us": gpu_us}
    return charged | _rest_of(rows) if rest else charged


def _rest_of(rows: Sequence[LedgerRow]) -> dict[Unit, int]:
    read = sum(row.input_tokens for row in rows)
    written = sum(row.output_tokens for row in rows)
    return {
        "calls": sum(row.kind == "call" for row in rows),
        "input_tokens": read,
        "output_tokens": written,
        "tokens": read + written,
    }


def sides_of(kinds: Iterable[str]) -> list[Side]:
    """Of which sides the sums tell what scopes of these kinds have spent."""
    asked = set(kinds)
    sides: list[Side] = ["callers"] if asked - _PLACES else []
    return [*sides, "places"] if asked & _PLACES else sides


def scopes_of(spent: Spent, side: Side) -> list[tuple[str, str]]:
    """(kind, scope) of each scope of a side in which the calls count; the kind of a tag has its
    name."""
    if side == "places":
        places = (("model", spent.model, model_scope), ("backend", spent.backend, backend_scope))
        return [(kind, scope(name)) for kind, name, scope in places if name]
    scopes = [
        ("key", key_scope(spent.key_id)),
        ("user", user_scope(spent.user)),
        ("gateway", GATEWAY),
        *((f"tag:{name}", tag_scope(name, value)) for name, value in spent.tags.items()),
    ]
    if spent.plan:
        scopes.append(("plan", plan_scope(spent.plan)))
    if spent.user == ACCOUNT:
        scopes.append(("warm-pool", WARM_POOL))
    return scopes


def spent_of(row: LedgerRow, side: Side, step_us: int = 0) -> Spent:
    """One row, as the sums of its side tell it."""
    alike: dict[str, Any] = (
        {"key_id": row.key_id, "user": row.user, "plan": row.plan, "tags": row.tags}
        if side == "callers"
        else {"model": row.model, "backend": row.backend}
    )
    return Spent(
        **alike,
        step=round(row.started_at * MICRO) // step_us if step_us else 0,
        calls=int(row.kind == "call"),
        gpu_us=row.gpu_us,
        nano_usd=row.cost_nano,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
    )


def lacks(row: LedgerRow, limits: Limited) -> bool:
    """Whether there are limits for the row's call that it did not claim: they came after it."""
    holds = [hold.claims for hold in (row.at_backend, row.at_model) if hold is not None]
    claims = itertools.chain(row.claims, *holds)
    had = {(claim.scope, claim.unit, claim.window) for claim in claims}
    scopes = [scope for side in _SIDES for scope in scopes_of(spent_of(row, side), side)]
    return any(
        kind == limited_kind and (scope, unit, window) not in had
        for window, wanted in limits.items()
        for limited_kind, unit in wanted
        for kind, scope in scopes
    )


def amounts_of(spent: Spent) -> dict[Unit, int]:
    """What the calls count for, in each unit that is counted in totals."""
    return {
        "calls": spent.calls,
        "gpu_us": spent.gpu_us,
        "nano_usd": spent.nano_usd,
        "tokens": spent.input_tokens + spent.output_tokens,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
    }


def limited(policy: Policy, keys: Iterable[Principal]) -> Limited:
    """The limits that the policy, a key or a client token has."""
    found: defaultdict[str, set[tuple[str, Unit]]] = defaultdict(set)
    for kind, limits in (*_of_policy(policy), *itertools.chain.from_iterable(map(_of_key, keys))):
        for limit in limits:
            if limit.unit in TOTALS:
                found[limit.window].add((kind, limit.unit))
    return found


def _of_key(key: Principal) -> Iterator[tuple[str, tuple[Limit, ...]]]:
    for one in key.tagged:
        yield f"tag:{one.name}", one.limits
    if key.token is None:
        yield "key", key.limits
    else:
        yield f"tag:{TOKEN_TAG}", key.token.limits


def _of_policy(policy: Policy) -> Iterator[tuple[str, tuple[Limit, ...]]]:
    for plan in policy.plans.values():
        scopes: list[tuple[str, Bounds | None]] = [
            ("key", plan.per_key),
            ("user", plan),
            ("plan", plan.shared),
        ]
        yield from ((kind, bounds.flat()) for kind, bounds in scopes if bounds is not None)
    for kind, _, limits in policy.limits.parts():
        yield kind, limits.flat()


class Part(NamedTuple):
    """What is held under an id of its own, and the rows of what was used of it."""

    hold: Hold
    rows: Sequence[LedgerRow]
