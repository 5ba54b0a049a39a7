"""What a call holds in the shared store once the limits had room for it. Frozen: who holds more has
another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from adapters.types import Call
from gateway.active_policy import ActivePolicy
from gateway.preferences import Preferences
from gateway.routing.router import Quote, device_us
from gateway.storage.base import Admitted, Claim, Hold
from gateway.storage.claims import (
    CallClaims,
    ClaimTemplate,
    held_in,
    template_of,
    with_take,
)
from gateway.types import Unit


class Admission(msgspec.Struct, frozen=True):
    """That of a caller whom nothing limits is empty."""

    admitted: Admitted | None = None
    """What the store answered."""
    claims: Sequence[Claim] = ()
    hold_nano: int = 0
    """Nano-dollars."""
    surplus_nano: int = 0
    """Of these, how many will probably come back."""

    def holds(self, unit: Unit) -> bool:
        """Whether something of ``unit`` is limited, and so held."""
        return holds(self.claims, unit)

    def with_more(self, unit: Unit, amount: int) -> Admission:
        """The same with ``amount`` more of ``unit``."""
        claims = more_of(self.claims, unit, amount)
        nano = self.hold_nano + (amount if unit == "nano_usd" else 0)
        return msgspec.structs.replace(self, claims=claims, hold_nano=nano)

    def widened(self, claims: Iterable[Claim], takes: Mapping[Unit, int]) -> Admission:
        """The same under the limits of ``claims``, in those too that came after the admission: of
        each unit as much as is held elsewhere, or else ``takes``."""
        found = widened(self.claims, claims, takes)
        nano = most_held(found, "nano_usd")
        return msgspec.structs.replace(self, claims=found, hold_nano=max(self.hold_nano, nano))


UNLIMITED = Admission()


def counted_amounts(
    active: ActivePolicy,
    call: Call,
    preferences: Preferences,
    template: ClaimTemplate,
    quotes: Iterable[Quote],
) -> dict[Unit, int]:
    """What a call holds beside money and device time: itself, and the most tokens that it should
    read and may write."""
    if not template.tokens:
        return {"calls": 1}
    read = max([active.input_bound(call, preferences), *(quote.input_held for quote in quotes)])
    written = preferences.output_tokens
    return {
        "calls": 1,
        "input_tokens": read,
        "output_tokens": written,
        "tokens": read + written,
    }


def claims_for(
    active: ActivePolicy,
    call: Call,
    preferences: Preferences,
    template: ClaimTemplate,
    quotes: Sequence[Quote],
) -> CallClaims:
    """What a call claims in these limits that may be sent to any of the quotes."""
    nano = max([quote.estimate.hold for quote in quotes])
    rest: dict[Unit, int] = {}
    if template.rest:
        rest = counted_amounts(active, call, preferences, template, quotes)
    return CallClaims(template, nano, device_us(quotes), rest)


@lru_cache(maxsize=1024)
def without_concurrency(template: ClaimTemplate) -> ClaimTemplate:
    """What a call claims that will be asked later: who waits takes nobody's place."""
    claims = [claim for claim in template.limits if claim.unit != "concurrent"]
    if len(claims) == len(template.limits):
        return template
    return template_of(template.principal, claims, template.shown, template.until)


def concurrency_in(template: ClaimTemplate) -> tuple[Claim, ...]:
    """What it claims once it is asked."""
    return tuple(claim for claim in template.counted if claim.unit == "concurrent")


def without_dearest(quotes: Sequence[Quote]) -> tuple[Quote, ...]:
    """Those that hold less money than the others."""
    dearest = max([quote.estimate.hold for quote in quotes])
    return tuple([quote for quote in quotes if quote.estimate.hold < dearest])


def holds(claims: Iterable[Claim], unit: Unit) -> bool:
    """Whether any of them is one of ``unit``."""
    return any(claim.unit == unit for claim in claims)


def most_held(claims: Iterable[Claim], unit: Unit) -> int:
    """What is held of ``unit``; 0 where nothing is."""
    return max((claim.take for claim in claims if claim.unit == unit), default=0)


def amounts_in(hold: Hold) -> Hold:
    """The hold, with what is left to settle if this process dies."""
    return Hold(hold.id, tuple(held_in(hold.claims)))


def more_of(claims: Iterable[Claim], unit: Unit, amount: int) -> tuple[Claim, ...]:
    """The claims, of which those of ``unit`` take ``amount`` more."""
    return tuple(
        msgspec.structs.replace(claim, take=claim.take + amount) if claim.unit == unit else claim
        for claim in claims
    )


def widened(
    held: Iterable[Claim], claims: Iterable[Claim], takes: Mapping[Unit, int]
) -> tuple[Claim, ...]:
    """What is held, under the limits that ``claims`` have now; then those of ``claims`` in which
    nothing is held yet, which take as much of their unit as the others, or else ``takes``."""
    limits = {_counter(claim): claim for claim in claims}
    known = tuple(
        msgspec.structs.replace(claim, limit=limits.pop(_counter(claim), claim).limit)
        for claim in held
    )
    takes = {**takes, **{claim.unit: claim.take for claim in known}}
    surplus = {claim.unit: claim.surplus for claim in known}
    new = tuple(
        with_take(claim, takes.get(claim.unit, claim.take), surplus.get(claim.unit, 0))
        for claim in limits.values()
    )
    return (*known, *new)


def widened_hold(hold: Hold, template: ClaimTemplate, takes: Mapping[Unit, int]) -> Hold:
    """The same of what is held beside an admission."""
    return Hold(hold.id, widened(hold.claims, template.limits, takes))


def _counter(claim: Claim) -> tuple[str, Unit, str]:
    return claim.scope, claim.unit, claim.window
