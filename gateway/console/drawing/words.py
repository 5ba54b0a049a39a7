"""What codes mean, in a sentence."""

from __future__ import annotations

REASONS = {
    "RES_FREE": "a reserved backend had a free slot",
    "RES_WAIT_OK": "a reserved backend frees up within the promise",
    "RES_LOAD": "a reserved backend loads the model within the promise",
    "SPILL_WARM": "the reserved ones would break the promise or are away; a warm worker elsewhere",
    "SPILL_COLD": "the reserved ones would break the promise or are away; a worker must start",
    "WARM": "no reserved backend serves the model; a warm worker",
    "COLD": "no reserved backend serves the model; a worker must start",
    "LEAST_DELAY": "nothing meets the promise: the shortest delay",
    "FASTEST": "its route wants the fastest",
    "LISTED": "its route lists it first",
    "WEIGHTED": "its route draws by weight",
    "FAILOVER": "the first choice failed before it answered",
    "HEDGE": "the first choice was slow, and this one answered sooner",
    "REGION": "it runs where the caller is",
    "LAST_RESORT": "not well, and no other can take the call",
    "NONE": "no backend may be asked",
}
"""Of a decision, as in the header X-Spillgate-Reason."""
VERDICTS = {
    "drained": "drained by an operator",
    "not_ready": "not ready",
    "cooling_down": "resting after a failure",
    "returning": "back from an outage, and not trusted yet",
    "load_failed": "could not load the model",
    "task_unsupported": "cannot do this task",
    "no_streaming": "cannot stream",
    "lacks_ability": "cannot do what the call brings or asks for",
    "context_too_small": "takes fewer tokens than the prompt has",
    "too_large": "takes no request of this size",
    "over_max_price": "dearer than the call may be",
    "queue_full": "its line is full",
    "budget": "no money for it was left",
    "deadline": "no time for it was left",
    "repeat_budget": "enough was repeated already",
    "backend_retry_budget": "enough was repeated there already",
}
"""Why a backend was not asked."""
OUTCOMES = {
    "success": "answered",
    "error": "failed",
    "cancelled": "cancelled",
    "disconnected": "client left",
    "interrupted": "cut off by a crash",
    "ping": "ping",
}
ERROR_WORDS = {
    "hedged": "another was quicker",
    "backend_timeout": "time-out",
    "backend_overloaded": "no room",
    "backend_failed": "failed",
    "backend_unreachable": "unreachable",
    "context_length_exceeded": "too long",
    "budget_exhausted": "no money left",
}
CAUSES = {
    "fees": "disk and fees",
    "price": "another price",
    "starts": "cold starts",
    "idle": "idle tails",
    "not_ours": "calls not ours",
    "rest": "not explained",
}
"""What makes a bill differ from the ledger, in short."""
MEASURES = {"cost": "dollars", "calls": "calls", "gpu": "device time", "tokens": "tokens"}
"""What Spend adds up."""
_NAMED = {
    "system:idle": "idle",
    "system:warm-pool": "kept warm",
    "system:corrections": "corrections",
}


def whose(name: str) -> str:
    """A value of a dimension, as it is shown: the gateway's own accounts have names."""
    return _NAMED.get(name, name) or "none"
