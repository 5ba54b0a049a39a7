"""What is said of a call that its model does not do: where the model is asked."""

from __future__ import annotations

from urllib.parse import quote

from adapters.routes import OPENAI_ROUTES, PLAIN_ROUTES
from gateway.api.requests.request import CONVERSATIONS
from gateway.policy.model import ModelSpec
from gateway.types import ApiError


def wrong_endpoint(name: str, spec: ModelSpec, asked: str, param: str = "model") -> ApiError:
    """A 400 that names the path on which the model answers; ``asked``: the task of the path that
    was taken."""
    said = f"The model {name!r} serves {spec.task}, not {asked}: ask it {_where(name, spec)}."
    return ApiError(400, "wrong_endpoint", said, param=param)


def _where(name: str, spec: ModelSpec) -> str:
    if spec.task == "infer":
        return f"at /v1/infer/{name}"
    if spec.task == "realtime":
        return f"by a WebSocket at {CONVERSATIONS}?model={quote(name)}"
    return f"at {spec.path or {**OPENAI_ROUTES, **PLAIN_ROUTES}[spec.task]}"
