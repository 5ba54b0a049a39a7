"""When the gateway puts platforms' bills beside its ledger by itself, as a policy says it."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from adapters.settings import Duration, Scalar

_PERCENT = re.compile(r"(?P<number>\d{1,3}(?:\.\d{1,4})?)\s*%\Z")


def parse_percent(value: Any) -> float:
    """``5%`` -> 0.05. Raises ValueError."""
    found = _PERCENT.match(str(value).strip())
    if found is None or float(found["number"]) > 100:
        raise ValueError(f"{value!r} is no share such as 5%")
    return float(found["number"]) / 100


Percent = Annotated[
    float,
    Scalar(parse=parse_percent, expects="a share such as 5%", pattern=_PERCENT.pattern[:-2] + "$"),
]


class Reconcile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often bills are asked for, and what is done with a difference."""

    every: Annotated[Duration, msgspec.Meta(ge=600)] = 86_400.0
    """Between two questions to the platforms, 10m at least; some charge for one."""
    days: Annotated[int, msgspec.Meta(ge=1, le=31)] = 3
    """How many days that have ended are compared each time; bills come late."""
    threshold: Percent = 0.05
    """The difference, as a share of the bill, past which a warning is logged."""
    book: bool = False
    """Whether differences become rows, so that the ledger's totals are the bills'."""
