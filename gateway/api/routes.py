"""Every route of the gateway in one table, the busiest first."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypedDict

from starlette.types import ASGIApp

from adapters.routes import CALLERS_ROUTES, PLAIN_ROUTES
from gateway.api.admin import backends, keys, pings, policy, schedules, trials, webhooks
from gateway.api.admin.audited import list_acts
from gateway.api.admin.endpoint import AdminEndpoint, Handler
from gateway.api.answers.refused import log_refused
from gateway.api.batches.pages import BatchesEndpoint, batch_paths
from gateway.api.calls.counting import CountEndpoint
from gateway.api.calls.declared import DeclaredEndpoint
from gateway.api.calls.explain import ExplainEndpoint
from gateway.api.calls.infer import InferEndpoint
from gateway.api.calls.models import ModelsEndpoint
from gateway.api.calls.openai import OpenAIEndpoint
from gateway.api.calls.plain import PlainEndpoint
from gateway.api.cors import with_cors
from gateway.api.files.pages import (
    FileContentEndpoint,
    FileEndpoint,
    FilesEndpoint,
    LinkedFileEndpoint,
)
from gateway.api.jobs.pages import JobsEndpoint, paths_of
from gateway.api.lifespan import Lifespan, live
from gateway.api.middleware import CONSOLE, PUBLIC, AuthMiddleware, Console
from gateway.api.owner import OwnerMiddleware
from gateway.api.probes import (
    DocsEndpoint,
    HealthEndpoint,
    MetricsEndpoint,
    OpenApiEndpoint,
    ReadyEndpoint,
    RootEndpoint,
)
from gateway.api.requests.door import Door
from gateway.api.requests.request import Receive, RequestContext, Scope, Send
from gateway.api.responses.pages import ResponseEndpoint, ResponsesEndpoint
from gateway.api.routed_paths import Paths, RoutedPath
from gateway.api.tokens.pages import TokenEndpoint, TokensEndpoint
from gateway.api.usage.forecast import ForecastEndpoint
from gateway.api.usage.me import MeEndpoint
from gateway.api.usage.usage import CallsEndpoint, CallUsageEndpoint, UsageEndpoint
from gateway.clock import Clock
from gateway.failed_keys import FailedKeys
from gateway.files.names import LINKED
from gateway.policy.sections.cors import CorsSettings
from gateway.service import Gateway
from gateway.storage.key_store import KeyStore
from gateway.types import ApiError

Answers = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
"""An ASGI application."""
Around = Callable[[Answers], Answers]

_PLAIN = [(path, task) for path, task in CALLERS_ROUTES.items() if task in PLAIN_ROUTES]


class Application:
    """The routes behind our middleware, which answers every error."""

    def __init__(
        self,
        middleware: AuthMiddleware,
        owners: OwnerMiddleware,
        routes: list[RoutedPath],
        lifespan: Lifespan,
        around: Around,
        cors: CorsSettings | None = None,
    ) -> None:
        self.routes = routes
        self.lifespan = lifespan
        self._middleware = with_cors(around(middleware), cors)
        self._owners = owners
        self._paths = Paths(routes)
        middleware.leads_to(self._elsewhere, self._paths.exact)
        owners.leads_to(self._elsewhere, self._paths.exact)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """What a call awaits is the middleware itself: one coroutine less, each time it waits."""
        return self._middleware(scope, receive, send)

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(self.lifespan, receive, send)
        else:
            await self._paths(scope, receive, send)

    def by_owner(self, user: str) -> ASGIApp:
        """The same for a connection of the system's ``user``, who needs no key."""
        return self._owners.by(user)


class _Common(TypedDict):
    keys: KeyStore
    clock: Clock
    failed_keys: FailedKeys
    max_header: int
    refused: Callable[[RequestContext, ApiError], None]
    public: Collection[str]
    doors: Mapping[str, Door]
    console: Console


class RoutedConsole(Console, Protocol):
    """The console with its routes."""

    def routes(self, failed_keys: FailedKeys) -> Sequence[RoutedPath]:
        """``failed_keys`` counts who signs in with a key that is none."""
        ...


def application(
    gateway: Gateway,
    lifespan: Lifespan,
    console: RoutedConsole,
    more: Sequence[RoutedPath] = (),
    doors: Mapping[str, Door] = MappingProxyType({}),
    around: Around = lambda app: app,
) -> Application:
    """The ASGI application: the middleware, then the routes. ``more``: those of ``doors``, by the
    first part of their paths; ``around``: what stands around it."""
    server = gateway.active.policy.server
    hidden = () if server.metrics == "public" else ("/metrics",)
    failed_keys = FailedKeys(
        server.clients.failed_keys, clock=gateway.clock, metrics=gateway.metrics
    )
    common: _Common = {
        "keys": gateway.keys,
        "clock": gateway.clock,
        "failed_keys": failed_keys,
        "max_header": server.max_header,
        "refused": functools.partial(log_refused, gateway),
        "public": PUBLIC - {*hidden},
        "doors": doors,
        "console": console,
    }
    middleware = AuthMiddleware(uses=gateway.last_uses.noted, **common)
    owners = OwnerMiddleware(uses={}, **common)  # an owner is no key that was used
    routes = [
        *_calls(gateway),
        *_pages(gateway),
        *_admin(gateway),
        *more,
        *console.routes(failed_keys),
        RoutedPath("/{path:path}", DeclaredEndpoint(gateway)),
    ]
    return Application(middleware, owners, routes, lifespan, around, server.cors)


def _calls(gateway: Gateway) -> list[RoutedPath]:
    return [
        RoutedPath("/v1/chat/completions", OpenAIEndpoint(gateway, "chat")),
        RoutedPath("/v1/embeddings", OpenAIEndpoint(gateway, "embeddings")),
        RoutedPath("/v1/completions", OpenAIEndpoint(gateway, "completions")),
        RoutedPath("/v1/messages", OpenAIEndpoint(gateway, "messages")),
        RoutedPath("/v1/messages/count_tokens", CountEndpoint(gateway)),
        RoutedPath("/v1/responses", ResponsesEndpoint(gateway)),
        RoutedPath("/v1/responses/{response}", ResponseEndpoint(gateway)),
        *(RoutedPath(path, PlainEndpoint(gateway, task)) for path, task in _PLAIN),
        RoutedPath("/v1/infer/{model:path}", InferEndpoint(gateway)),
        RoutedPath("/v1/models", ModelsEndpoint(gateway)),
        RoutedPath("/v1/models/{model:path}", ModelsEndpoint(gateway)),
        RoutedPath("/v1/jobs", JobsEndpoint(gateway)),
        *(RoutedPath(f"/v1/jobs/{{job}}{rest}", one) for rest, one in paths_of(gateway).items()),
        *_files(gateway),
        RoutedPath("/v1/route/explain", ExplainEndpoint(gateway)),
        RoutedPath("/v1/me", MeEndpoint(gateway)),
        RoutedPath("/v1/tokens", TokensEndpoint(gateway)),
        RoutedPath("/v1/tokens/{token}", TokenEndpoint(gateway)),
    ]


def _files(gateway: Gateway) -> list[RoutedPath]:
    return [
        RoutedPath("/v1/files", FilesEndpoint(gateway)),
        RoutedPath(LINKED, LinkedFileEndpoint(gateway)),
        RoutedPath("/v1/batches", BatchesEndpoint(gateway)),
        *(
            RoutedPath(f"/v1/batches/{{batch}}{rest}", one)
            for rest, one in batch_paths(gateway).items()
        ),
        RoutedPath("/v1/files/{file}", FileEndpoint(gateway)),
        RoutedPath("/v1/files/{file}/content", FileContentEndpoint(gateway)),
    ]


def _pages(gateway: Gateway) -> list[RoutedPath]:
    has_metrics = isinstance(gateway.active.policy.server.metrics, str)
    return [
        RoutedPath("/healthz", HealthEndpoint()),
        RoutedPath("/readyz", ReadyEndpoint(gateway)),
        *([RoutedPath("/metrics", MetricsEndpoint(gateway))] if has_metrics else []),
        RoutedPath("/usage", UsageEndpoint(gateway)),
        RoutedPath("/usage/calls", CallsEndpoint(gateway)),
        RoutedPath("/usage/forecast", ForecastEndpoint(gateway)),
        RoutedPath("/usage/{request_id:path}", CallUsageEndpoint(gateway)),
        RoutedPath("/openapi.json", OpenApiEndpoint()),
        RoutedPath("/docs", DocsEndpoint()),
        RoutedPath("/", RootEndpoint(CONSOLE)),
    ]


def _admin(gateway: Gateway) -> list[RoutedPath]:
    table: dict[str, dict[str, Handler]] = {
        "/admin/keys": {"GET": keys.list_keys, "POST": keys.create_key},
        "/admin/keys/{key_id}": {"DELETE": keys.revoke_key},
        "/admin/keys/{key_id}/rotate": {"POST": keys.rotate_key},
        "/admin/audit": {"GET": list_acts},
        "/admin/backends": {"GET": backends.list_backends},
        "/admin/backends/{backend:path}/drain": {"POST": backends.drain},
        "/admin/backends/{backend:path}/enable": {"POST": backends.enable},
        "/admin/backends/{backend:path}/ping": {"GET": pings.quote, "POST": pings.ping},
        "/admin/schedules": {"GET": schedules.list_schedules},
        "/admin/webhooks": {"GET": webhooks.list_webhooks},
        "/admin/webhooks/{webhook:path}/deliveries": {"GET": webhooks.list_deliveries},
        "/admin/webhooks/{webhook:path}/test": {"POST": webhooks.test_webhook},
        "/admin/webhooks/{webhook:path}/redeliver": {"POST": webhooks.redeliver},
        "/admin/webhooks/{webhook:path}/enable": {"POST": webhooks.enable_webhook},
        "/admin/policy": {"GET": policy.show, "PUT": policy.apply},
        "/admin/policy/validate": {"POST": policy.validate},
        "/admin/policy/apply": {"POST": policy.apply},
        "/admin/policy/rollback": {"POST": policy.roll_back},
        "/admin/policy/history": {"GET": policy.history},
        "/admin/policy/shadow": {
            "GET": trials.show,
            "POST": trials.begin,
            "DELETE": trials.end,
        },
        "/admin/policy/{version}": {"GET": policy.earlier},
    }
    return [RoutedPath(path, AdminEndpoint(gateway, path, table[path])) for path in table]
