"""What is asked of an endpoint. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from adapters.routes import OPENAI_ROUTES, PLAIN_ROUTES
from adapters.types import Task
from gateway.api.requests.queries import whole_number
from gateway.doors.requests.asking import decoded, without_model
from gateway.types import ApiError

_DEFAULT_WAIT_S = 90.0
_SHORTEST_WAIT_MS, _LONGEST_WAIT_MS = 1_000, 300_000
_SHORTEST_RUN_S, _SHORTEST_LIFE_S, _LONGEST_S = 5.0, 10.0, 7 * 86_400.0


class RunPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Milliseconds; ``ttl`` is from the submit to the end."""

    execution_timeout: float | None = None
    ttl: float | None = None
    low_priority: bool = False


class RunBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of /run and /runsync."""

    input: msgspec.Raw
    webhook: str | None = None
    policy: RunPolicy = RunPolicy()


DECODER = msgspec.json.Decoder(RunBody)


def execution_timeout_s(policy: RunPolicy) -> float | None:
    """Raises ApiError 400 for one outside of the platform's bounds."""
    return _bounded("executionTimeout", policy.execution_timeout, _SHORTEST_RUN_S)


def ttl_s(policy: RunPolicy) -> float | None:
    """Raises ApiError 400 for one outside of the platform's bounds."""
    return _bounded("ttl", policy.ttl, _SHORTEST_LIFE_S)


def _bounded(name: str, ms: float | None, shortest_s: float) -> float | None:
    if ms is None:
        return None
    if not shortest_s <= ms / 1000 <= _LONGEST_S:
        raise ApiError(
            400,
            "invalid_field",
            f"`policy.{name}` is milliseconds, from {shortest_s * 1000:.0f} to a week "
            f"({_LONGEST_S * 1000:.0f}).",
            param=f"policy.{name}",
        )
    return ms / 1000


def wait_s(query: bytes) -> float:
    """How long /runsync waits: ``wait`` in milliseconds. Raises ApiError 400."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("wait")
    if given is None:
        return _DEFAULT_WAIT_S
    ms = whole_number(given[-1], _SHORTEST_WAIT_MS, _LONGEST_WAIT_MS)
    if ms is None:
        raise ApiError(
            400,
            "invalid_parameter",
            f"`wait` is milliseconds, from {_SHORTEST_WAIT_MS} to {_LONGEST_WAIT_MS}.",
            param="wait",
        )
    return ms / 1000


def call_of(task: Task, given: msgspec.Raw) -> bytes:
    """The input of a job as the task's own route takes it: as it came; of OpenAI's tasks also as
    RunPod's vLLM worker takes it. Raises ApiError 400 for another route than the task's."""
    if task == "infer":
        return bytes(given)
    value = decoded(given)
    if not isinstance(value, dict):
        return bytes(given)
    return _unwrapped(task, value) if "openai_input" in value else without_model(value)


def _unwrapped(task: Task, value: dict[str, Any]) -> bytes:
    """https://github.com/runpod-workers/worker-vllm: the route, and the body that it takes."""
    route, body = value.get("openai_route"), value["openai_input"]
    own = OPENAI_ROUTES.get(task) or PLAIN_ROUTES.get(task)
    if route != own:
        raise ApiError(
            400,
            "invalid_field",
            f"This endpoint serves {own or task}; `openai_route` says {route!r}.",
            param="input.openai_route",
        )
    return without_model(body) if isinstance(body, dict) else msgspec.json.encode(body)
