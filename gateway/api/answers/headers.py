"""Headers of an answer: how its call was decided, what it cost and where its time went."""

from __future__ import annotations

from adapters.types import Usage
from gateway.api.requests.request import Header
from gateway.api.requests.tags import told
from gateway.calls.state import CallState
from gateway.money.limits import left_header, rate_limit_headers
from gateway.money.text import usd

_TIMING = b"gateway;dur=%.3f, queue;dur=%.3f, cold;dur=%.3f, exec;dur=%.3f"
_LATER = b"gateway;dur=%.3f, earlier;dur=%.3f, queue;dur=%.3f, cold;dur=%.3f, exec;dur=%.3f"
"""Where others were asked before the backend that answered."""
_AT_ONCE = b"gateway;dur=%.3f, queue;dur=0.000, cold;dur=0.000, exec;dur=%.3f"
"""Of a call that waited for nothing: each figure that is written costs as much as a header."""


def decision_headers(state: CallState) -> list[Header]:
    """What decided the call, for successes and failures alike; its cost once it is settled."""
    headers: list[Header] = []
    if state.backend is not None:
        headers.append((b"x-spillgate-backend", state.backend.name.encode()))
        headers.append((b"x-spillgate-reason", state.reason.encode()))
    if state.is_bounded and state.output_bound is not None:
        headers.append((b"x-spillgate-max-tokens", b"%d" % state.output_bound))
    if state.call.model != state.asked_model or state.call.shown:
        headers.append((b"x-spillgate-model", state.call.model.encode()))
    if state.admission.admitted is not None:
        headers.extend(rate_limit_headers(state.admission.admitted))
    if state.preferences.tags is not None:
        headers.append(told(state.preferences.tags))
    if state.left:
        headers.extend(left_header(state.left))
    ending = state.ending
    if ending is not None:
        headers.append((b"x-spillgate-cost", usd(ending.cost_nano).encode()))
    return headers


def server_timing(state: CallState, usage: Usage, now: float) -> Header:
    """Server-Timing in milliseconds; ``gateway`` is all that was neither a backend's nor a wait in
    line. ``now``: monotonic seconds."""
    gateway_s = now - state.received - state.answered_s - state.waited_s
    gateway_s = gateway_s if gateway_s > 0.0 else 0.0
    queue_s, exec_s = (usage.queue_s or 0.0) + state.waited_s, usage.exec_s or 0.0
    if not queue_s and not usage.cold_s and not state.earlier_s:
        return b"server-timing", _AT_ONCE % (gateway_s * 1000, exec_s * 1000)
    waits_ms = (queue_s * 1000, (usage.cold_s or 0.0) * 1000, exec_s * 1000)
    if not state.earlier_s:
        return b"server-timing", _TIMING % (gateway_s * 1000, *waits_ms)
    return b"server-timing", _LATER % (gateway_s * 1000, state.earlier_s * 1000, *waits_ms)
