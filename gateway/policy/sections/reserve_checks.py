"""What a policy says of rented capacity that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.policy.syntax.findings import Findings
from gateway.policy.syntax.problems import join, place_of


def check_reserve(values: Mapping[str, Any], reading: Findings) -> None:
    """Notes instances that nobody would advise, or whose price is not known by the hour or is
    booked already."""
    taken: dict[str, str] = {}
    committed = {one.backend: name for name, one in values.get("commitments", {}).items()}
    for name, one in values.get("reserve", {}).items():
        path = join("reserve", name)
        rule = values.get("warm_pool", {}).get(one.plan)
        if rule is None or rule.plan == "off":
            text = f"{one.plan} has no plan in the warm pool: say warm_pool.{one.plan}.plan"
            _note(f"{path}.plan", text, reading)
        spec = values["backends"].get(one.backend)
        dated = None if spec is None else values["prices"].get(spec.common.price or "")
        if dated is None or any(price.per_hour is None for price in dated.entries):
            text = f"{one.backend} has no price by the hour, which is that of an instance"
            _note(f"{path}.backend", text, reading)
        if one.backend in committed:
            text = f"the hours of {one.backend} are booked by commitments.{committed[one.backend]}"
            _note(f"{path}.backend", text, reading)
        if one.backend in taken:
            text = f"reserve.{taken[one.backend]} has instances of {one.backend} already"
            _note(f"{path}.backend", text, reading)
        taken.setdefault(one.backend, name)


def _note(path: str, text: str, reading: Findings) -> None:
    reading.note(place_of(path, reading.places), path, text)
