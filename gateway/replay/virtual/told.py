"""What a played policy came to, for a program and for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.replay.virtual.played import PlayedPolicy


def details(played: PlayedPolicy) -> dict[str, Any]:
    """Beside the outcome, in JSON's words."""
    charged = 1000 * played.charged_usd / played.outcome.calls
    names = ("p50", "p95", "p99")
    return {
        "charged_per_1000": round(charged, 6),
        "reasons": played.reasons,
        "backends": played.backends,
        "refused": played.refused,
        "answer_seconds": {
            name: round(seconds, 6) for name, seconds in zip(names, played.answer_s, strict=True)
        },
        "hedged": played.hedged,
        "hedges_won": played.hedges_won,
        "billed_usd": {name: round(usd, 6) for name, usd in played.billed.items()},
    }


def said(played: PlayedPolicy) -> str:
    """The same in lines."""
    outcome = played.outcome
    billed, charged = 1000 * outcome.serverless_usd, 1000 * played.charged_usd
    half, most, nearly_all = played.answer_s
    lines = [
        f"answered by {_counts(played.backends, outcome.calls)}",
        f"because of {_counts(played.reasons, outcome.calls)}",
        f"an answer takes {half:.2f} s (half), {most:.2f} s (95 %), {nearly_all:.2f} s (99 %)",
        f"platforms bill {billed / outcome.calls:.2f} USD/1,000; "
        f"the ledger would have {charged / outcome.calls:.2f} of it",
    ]
    if played.hedged:
        share, won = (100 * n / outcome.calls for n in (played.hedged, played.hedges_won))
        lines.append(f"asked of a second backend {share:.1f} %, which answered {won:.1f} % sooner")
    if played.refused:
        lines.append(f"without an answer: {_counts(played.refused, outcome.calls)}")
    return "".join(f"{line}\n" for line in lines)


def _counts(counts: Mapping[str, int], calls: int) -> str:
    told = (f"{name} {100 * count / calls:.1f} %" for name, count in counts.items())
    return ", ".join(told) or "nobody"
