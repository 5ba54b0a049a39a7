"""What is said of a call that its model does not do: where the model is asked."""

from __future__ import annotations

from adapters.types import OPENAI_ROUTES, PLAIN_ROUTES
from gateway.policy.model import ModelSpec
from gateway.types import ApiError


def wrong_endpoint(name: str, spec: ModelSpec, asked: str, param: str = "model") -> ApiError:
    """A 400 that names the path on which the model answers; ``asked``: the task of the path that
    was taken."""
    said = f"The model {name!r} serves {spec.task}, not {asked}: ask it at {_path_of(name, spec)}."
    return ApiError(400, "wrong_endpoint", said, param=param)


def _path_of(name: str, spec: ModelSpec) -> str:
    if spec.task == "infer":
        return f"/v1/infer/{name}"
    if spec.task == "realtime":
        return "/v1/realtime"
    return spec.path or {**OPENAI_ROUTES, **PLAIN_ROUTES}[spec.task]
