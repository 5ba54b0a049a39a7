"""The models that a key may call: GET /v1/models and /v1/models/{model}.

Shapes: https://platform.openai.com/docs/api-reference/models and, for a client that sends
``anthropic-version``, https://docs.claude.com/en/api/models-list
"""

from __future__ import annotations

from typing import Any

from adapters.routes import PLAIN_ROUTES
from adapters.types import WRITES_NOTHING
from gateway.active_policy import ActivePolicy
from gateway.api.requests.request import Receive, RequestContext, Scope, Send, only, respond_json
from gateway.service import Gateway
from gateway.types import ApiError, Principal

_ANTHROPIC = b"anthropic-version"
_EPOCH = "1970-01-01T00:00:00Z"


class ModelsEndpoint:
    """What the policy serves, as far as the key that asks may call it: its own name and its
    aliases. Raises ApiError 404 for a model that is not there, 403 for one that the key may not
    call."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        active = self._gateway.active
        told = _as_anthropic if _ANTHROPIC in context.headers else _as_openai
        name: str | None = scope.get("path_params", {}).get("model")
        names = active.models_of(context.principal)
        if name is None:
            await respond_json(
                send, context, _listed([told(active, one, context.principal) for one in names])
            )
            return
        active.model(name, context.principal)
        if name not in names:
            raise _no_route(name)
        await respond_json(send, context, told(active, name, context.principal))


def _no_route(name: str) -> ApiError:
    return ApiError(
        403,
        "no_route",
        f"No route that your calls may take leads to a backend of the model {name!r}. GET "
        "/v1/models lists the models that your key may call.",
        type="permission_error",
        param="model",
    )


def _listed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Both shapes are lists in ``data``; Anthropic's clients page by the others."""
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {}
    return {"object": "list", "data": rows, "has_more": False, **ends}


def _as_openai(active: ActivePolicy, name: str, principal: Principal) -> dict[str, Any]:
    """OpenAI's fields, then what the model can do: its task, the most tokens that any backend is
    said to take, the most of an answer without a bound of its own, and whether it streams. Of an
    answer without text a model has no most, and what is answered whole does not stream."""
    target = active.target(name, principal)
    spec = active.policy.models[target]
    backends = [active.backends[one] for one in spec.backends]
    contexts = [one.context for one in backends]
    writes = spec.task not in WRITES_NOTHING
    whole = not writes or spec.task in PLAIN_ROUTES
    known = [context for context in contexts if context is not None]
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "spillgate",
        "task": spec.task,
        "alias_of": None if target == name else target,
        "capabilities": {
            "streaming": not whole and any(one.adapter.capabilities.streaming for one in backends),
            "context_length": max(known) if len(known) == len(contexts) else None,
            "max_output_tokens": spec.max_output_tokens if writes else None,
        },
    }


def _as_anthropic(active: ActivePolicy, name: str, principal: Principal) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}
