"""What a played policy came to, for a program and for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.replay.virtual.played import PlayedPolicy


def details(played: PlayedPolicy) -> dict[str, Any]:
    """Beside the outcome, in JSON's words."""
    charged = 1000 * played.charged_usd / played.outcome.calls
    return {
        "charged_per_1000": round(charged, 6),
        "reasons": played.reasons,
        "backends": played.backends,
        "refused": played.refused,
        "billed_usd": {name: round(usd, 6) for name, usd in played.billed.items()},
    }


def said(played: PlayedPolicy) -> str:
    """The same in lines."""
    outcome = played.outcome
    billed, charged = 1000 * outcome.serverless_usd, 1000 * played.charged_usd
    lines = [
        f"answered by {_counts(played.backends, outcome.calls)}",
        f"because of {_counts(played.reasons, outcome.calls)}",
        f"platforms bill {billed / outcome.calls:.2f} USD/1,000; "
        f"the ledger would have {charged / outcome.calls:.2f} of it",
    ]
    if played.refused:
        lines.append(f"without an answer: {_counts(played.refused, outcome.calls)}")
    return "".join(f"{line}\n" for line in lines)


def _counts(counts: Mapping[str, int], calls: int) -> str:
    told = (f"{name} {100 * count / calls:.1f} %" for name, count in counts.items())
    return ", ".join(told) or "nobody"
