"""Every route of the gateway in one table, the busiest first."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from gateway.api import admin
from gateway.api.explain import ExplainEndpoint
from gateway.api.infer import InferEndpoint
from gateway.api.middleware import AuthMiddleware
from gateway.api.openai import ModelsEndpoint, OpenAIEndpoint
from gateway.api.probes import (
    DocsEndpoint,
    HealthEndpoint,
    MetricsEndpoint,
    OpenApiEndpoint,
    ReadyEndpoint,
)
from gateway.api.request import Receive, Scope, Send
from gateway.api.usage import CallUsageEndpoint, UsageEndpoint
from gateway.service import Gateway
from gateway.types import ApiError


class NotFound:
    """Every other path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise ApiError(
            404, "not_found", f"There is nothing at {scope['path']}. GET /docs lists the routes."
        )


class Application(Starlette):
    """Starlette's router behind our door alone: the door answers every error itself, so the two
    error middlewares that Starlette would add, and pass every message through, are left out."""

    def __init__(
        self, door: AuthMiddleware, routes: list[Route], lifespan: Lifespan[Starlette]
    ) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._door = door
        self.router.default = NotFound()  # what is no path at all, as in OPTIONS *
        # A path without parameters is looked up; Starlette would try one pattern after another.
        exact = {route.path: route.app for route in routes if not route.param_convertors}
        door.leads_to(self.router, exact)

    def build_middleware_stack(self) -> ASGIApp:
        return self._door


def application(
    service: Gateway, read_policy: admin.ReadPolicy, lifespan: Lifespan[Starlette]
) -> Starlette:
    """The ASGI application: the door, then the routes."""
    door = AuthMiddleware(
        keys=service.keys,
        clock=service.clock,
        max_header=service.current.policy.server.max_header,
    )
    routes = [
        *_calls(service),
        *_pages(service),
        *_admin(service, read_policy),
        Route("/{path:path}", NotFound()),
    ]
    return Application(door, routes, lifespan)


def _calls(service: Gateway) -> list[Route]:
    return [
        Route("/v1/chat/completions", OpenAIEndpoint(service, "chat")),
        Route("/v1/embeddings", OpenAIEndpoint(service, "embeddings")),
        Route("/v1/completions", OpenAIEndpoint(service, "completions")),
        Route("/v1/infer/{model:path}", InferEndpoint(service)),
        Route("/v1/models", ModelsEndpoint(service)),
        Route("/v1/models/{model:path}", ModelsEndpoint(service)),
        Route("/v1/route/explain", ExplainEndpoint(service)),
    ]


def _pages(service: Gateway) -> list[Route]:
    return [
        Route("/healthz", HealthEndpoint()),
        Route("/readyz", ReadyEndpoint(service)),
        Route("/metrics", MetricsEndpoint(service)),
        Route("/usage", UsageEndpoint(service)),
        Route("/usage/{request_id:path}", CallUsageEndpoint(service)),
        Route("/openapi.json", OpenApiEndpoint()),
        Route("/docs", DocsEndpoint()),
        Route("/", DocsEndpoint()),
    ]


def _admin(service: Gateway, read_policy: admin.ReadPolicy) -> list[Route]:
    policy = admin.PolicyRoutes(read_policy)
    table: dict[str, dict[str, admin.Handler]] = {
        "/admin/keys": {"GET": admin.list_keys, "POST": admin.create_key},
        "/admin/keys/{key_id}": {"DELETE": admin.revoke_key},
        "/admin/backends": {"GET": admin.list_backends},
        "/admin/backends/{backend:path}/drain": {"POST": admin.drain},
        "/admin/backends/{backend:path}/enable": {"POST": admin.enable},
        "/admin/policy": {"GET": policy.show, "PUT": policy.apply},
        "/admin/policy/validate": {"POST": policy.validate},
        "/admin/policy/rollback": {"POST": policy.roll_back},
    }
    return [Route(path, admin.AdminEndpoint(service, handlers)) for path, handlers in table.items()]
