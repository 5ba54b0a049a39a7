"""All that one call claims: limits that are the same for each call of a caller, and what this one
holds of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf
from typing import Any

import msgspec

from gateway.storage.base import Claim
from gateway.storage.counters import PAID, TOTALS
from gateway.types import Principal, Unit

TOKENS: frozenset[Unit] = frozenset(("tokens", "input_tokens", "output_tokens"))
_NOTHING: Mapping[Unit, int] = {}


class ClaimTemplate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What every call of one principal claims, but for the amounts that are held. Known by its
    identity, so that a store finds the counters of a caller once."""

    principal: Principal
    counted: tuple[Claim, ...]
    """Rates and concurrency: the same claims for each call."""
    held: tuple[Claim, ...]
    """What is held in amounts, with nothing taken."""
    limits: tuple[Claim, ...]
    """All of them; empty when nothing limits the principal."""
    shown: frozenset[str]
    """The scopes whose rates a call's answer tells."""
    held_text: msgspec.Raw
    """``held`` for the ledger: scope, unit, window and limit of each, as JSON."""
    until: float = inf
    """Seconds since the epoch: when limits of the principal change by themselves."""
    tokens: bool = False
    """Whether any of them is one of tokens."""
    rest: bool = False
    """Whether any of them is held in another unit than money and device time."""

    @property
    def spends(self) -> bool:
        """Whether any of them is one of money."""
        return any(claim.unit == "nano_usd" for claim in self.held)


def template_of(
    principal: Principal, claims: Sequence[Claim], shown: Collection[str], until: float = inf
) -> ClaimTemplate:
    """The claims of a principal, each counter once; of what is held in amounts they take nothing.
    ``shown``: the scopes whose rates a call's answer tells. ``until``: seconds since the epoch,
    when these are its claims no more."""
    counted = tuple(claim for claim in claims if claim.unit not in TOTALS)
    held = tuple(claim for claim in claims if claim.unit in TOTALS)
    parts = [(claim.scope, claim.unit, claim.window, claim.limit) for claim in held]
    return ClaimTemplate(
        principal=principal,
        counted=counted,
        held=held,
        limits=counted + held,
        shown=frozenset(shown),
        held_text=msgspec.Raw(msgspec.json.encode(parts)),
        until=until,
        tokens=any(claim.unit in TOKENS for claim in held),
        rest=any(claim.unit not in PAID for claim in held),
    )


class CallClaims(Sequence[Claim]):
    """The claims of one call. They are made when somebody looks at one: where one process counts,
    nobody does but to refuse the call."""

    __slots__ = ("_claims", "gpu_us", "nano_usd", "rest", "surplus", "template")

    def __init__(
        self,
        template: ClaimTemplate,
        nano_usd: int,
        gpu_us: int,
        rest: Mapping[Unit, int] = _NOTHING,
        surplus: int = 0,
    ) -> None:
        """``nano_usd``, ``gpu_us`` and ``rest``, the other units: what is held in each scope that
        limits it. ``surplus``: nano-dollars of it that will probably come back."""
        self.template = template
        self.nano_usd = nano_usd
        self.gpu_us = gpu_us
        self.rest = rest
        self.surplus = surplus
        self._claims: tuple[Claim, ...] | None = None

    @property
    def each(self) -> tuple[Claim, ...]:
        """All of them, in the order of the template."""
        claims = self._claims
        if claims is None:
            template = self.template
            held = [self._with_amounts(claim) for claim in template.held]
            claims = self._claims = (*template.counted, *held)
        return claims

    def _with_amounts(self, claim: Claim) -> Claim:
        unit = claim.unit
        if unit == "nano_usd":
            return with_take(claim, self.nano_usd, self.surplus)
        return with_take(claim, self.gpu_us if unit == "gpu_us" else self.rest.get(unit, 0))

    def __len__(self) -> int:
        return len(self.template.limits)

    def __getitem__(self, index: Any) -> Any:
        return self.each[index]

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.each)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.each == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"CallClaims({self.each!r})"


def with_take(claim: Claim, take: int, surplus: int = 0) -> Claim:
    """The claim, which takes so much."""
    return Claim(claim.scope, claim.unit, claim.window, claim.limit, take, surplus)


def surplus_of(claims: Sequence[Claim]) -> int:
    """Nano-dollars of what they take that will probably come back."""
    if isinstance(claims, CallClaims):
        return claims.surplus
    return max([claim.surplus for claim in claims if claim.unit == "nano_usd"], default=0)


def holds_rest(claims: Sequence[Claim]) -> bool:
    """Whether anything is held beside money and device time."""
    if isinstance(claims, CallClaims):
        return claims.template.rest
    return any(claim.unit in TOTALS and claim.unit not in PAID for claim in claims)


def held_in(claims: Sequence[Claim]) -> Sequence[Claim]:
    """What is left to settle if this process dies: a rate is not given back by then."""
    if isinstance(claims, CallClaims):
        return claims  # their text has no others
    return tuple([claim for claim in claims if claim.unit in TOTALS])


# --- as JSON ----------------------------------------------------------------------------------


class _HeldText(msgspec.Struct, omit_defaults=True):
    nano_usd: int
    gpu_us: int
    held: msgspec.Raw
    rest: dict[Unit, int] = {}


def to_json(value: object) -> Any:
    """For an encoder: of a call's claims what is held, each limit as an array of its parts."""
    if isinstance(value, CallClaims):
        rest = dict(value.rest) if value.rest else {}
        return _HeldText(value.nano_usd, value.gpu_us, value.template.held_text, rest)
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


def from_json(value: Any) -> tuple[Claim, ...]:
    """What ``to_json`` gave, decoded; or the list of objects that a plain tuple of claims is, and
    that earlier versions wrote."""
    if isinstance(value, list):
        return msgspec.convert(value, tuple[Claim, ...])
    takes = {**value, **value.get("rest", {})}
    return tuple(
        Claim(scope, unit, window, limit, takes.get(unit, 0))
        for scope, unit, window, limit in value["held"]
    )
