"""All that one call claims: limits that are the same for each call of a caller, and what this one
holds of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from gateway.storage.base import Claim
from gateway.storage.counters import TOTALS
from gateway.types import Principal, Unit


class ClaimTemplate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What every call of one principal claims, but for the amounts that are held. Known by its
    identity, so that a store finds the counters of a caller once."""

    principal: Principal
    counted: tuple[Claim, ...]
    """Rates and concurrency: the same claims for each call."""
    held: tuple[Claim, ...]
    """Device time and money, with nothing taken."""
    limits: tuple[Claim, ...]
    """All of them; empty when nothing limits the principal."""
    shown: frozenset[str]
    """The scopes whose rates a call's answer tells."""
    held_text: msgspec.Raw
    """``held`` for the ledger: scope, unit, window and limit of each, as JSON."""

    @property
    def spends(self) -> bool:
        """Whether any of them is one of money."""
        return any(claim.unit == "nano_usd" for claim in self.held)


def template_of(
    principal: Principal, claims: Sequence[Claim], shown: Collection[str]
) -> ClaimTemplate:
    """The claims of a principal, each counter once; of device time and money they take nothing.
    ``shown``: the scopes whose rates a call's answer tells."""
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
    )


class CallClaims(Sequence[Claim]):
    """The claims of one call. They are made when somebody looks at one: where one process counts,
    nobody does but to refuse the call."""

    __slots__ = ("_claims", "gpu_us", "nano_usd", "template")

    def __init__(self, template: ClaimTemplate, nano_usd: int, gpu_us: int) -> None:
        """``nano_usd`` and ``gpu_us``: what is held in each scope that limits it."""
        self.template = template
        self.nano_usd = nano_usd
        self.gpu_us = gpu_us
        self._claims: tuple[Claim, ...] | None = None

    @property
    def each(self) -> tuple[Claim, ...]:
        """All of them, in the order of the template."""
        claims = self._claims
        if claims is None:
            template = self.template
            held = [with_take(claim, self._take(claim.unit)) for claim in template.held]
            claims = self._claims = (*template.counted, *held)
        return claims

    def _take(self, unit: Unit) -> int:
        return self.nano_usd if unit == "nano_usd" else self.gpu_us

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


def with_take(claim: Claim, take: int) -> Claim:
    """The claim, which takes so much."""
    return Claim(claim.scope, claim.unit, claim.window, claim.limit, take)


def held_in(claims: Sequence[Claim]) -> Sequence[Claim]:
    """What is left to settle if this process dies: a rate is not given back by then."""
    if isinstance(claims, CallClaims):
        return claims  # their text has no others
    return tuple([claim for claim in claims if claim.unit in TOTALS])


# --- as JSON ----------------------------------------------------------------------------------


class _HeldText(msgspec.Struct):
    nano_usd: int
    gpu_us: int
    held: msgspec.Raw


def to_json(value: object) -> Any:
    """For an encoder: of a call's claims what is held, each limit as an array of its parts."""
    if isinstance(value, CallClaims):
        return _HeldText(value.nano_usd, value.gpu_us, value.template.held_text)
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


def from_json(value: Any) -> tuple[Claim, ...]:
    """What ``to_json`` gave, decoded; or the list of objects that a plain tuple of claims is, and
    that earlier versions wrote."""
    if isinstance(value, list):
        return msgspec.convert(value, tuple[Claim, ...])
    return tuple(
        Claim(scope, unit, window, limit, value[unit])
        for scope, unit, window, limit in value["held"]
    )
