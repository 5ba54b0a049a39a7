"""The policy in force: one immutable bundle that a reload swaps whole."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from adapters.types import Call
from gateway.backends.candidates import candidate_of, in_order, inside
from gateway.backends.demands import Demands
from gateway.backends.live import LiveBackend
from gateway.keys.permitted import check_model, may_use
from gateway.money.inputs import TEXT_ALONE
from gateway.money.limits import backend_claims, compile_claims, model_claims
from gateway.policy.matching import compile_routes
from gateway.policy.model import ModelSpec, Policy, Route
from gateway.policy.sections.hedge import HedgeSettings
from gateway.preferences import RANK, Preferences
from gateway.routing.caller_regions import caller_regions
from gateway.routing.repeating import RepeatRules
from gateway.routing.router import (
    ORDERS_ITSELF,
    Candidate,
    Decision,
    RoutingRequest,
    available,
    decide,
)
from gateway.storage.claims import ClaimTemplate
from gateway.types import ApiError, Principal, Priority

_TEMPLATES_KEPT = 10_000
_BYTES_A_TOKEN = 2
"""At least: of a prompt that was cut short no more can be kept than it has."""


class Queued(msgspec.Struct, frozen=True):
    """A call that waits in line at a backend."""

    backend: str
    ahead: int
    """Calls before it there."""
    waited_s: float

    def at(self, backend: LiveBackend) -> int | None:
        """The calls before it, where it waits at this backend; None elsewhere."""
        return self.ahead if backend.name == self.backend else None


class ActivePolicy:
    """A policy, compiled, with its backends as they stand."""

    def __init__(self, policy: Policy, backends: dict[str, LiveBackend]) -> None:
        self.policy = policy
        self.backends = backends
        self.calls = 0
        """Calls on their way to an answer by this policy: its backends must stay open for them."""
        self._routes = compile_routes(policy)
        self._templates: dict[Hashable, ClaimTemplate] = {}
        self._usables: dict[tuple[str, str], tuple[LiveBackend, ...]] = {}
        self._priorities = {name: plan.priority for name, plan in policy.plans.items()}
        self._named = {route.name: route for route in policy.routes}
        models = policy.models.items()
        self.routes = {one.declared: name for name, one in models if one.path}
        """(Method, path) of each route that the policy names -> its model."""
        self.limit_by(policy)
        self.bounds_repetitions = any(route.retries for route in policy.routes) or any(
            one.spec.common.retry_budget is not None for one in backends.values()
        )
        """Whether any route, or backend, counts how often calls are repeated."""
        self.takes_tags = policy.tags.any()
        """Whether a request may give its call any."""
        self.hedges = any(route.hedge for route in policy.routes)
        """Whether slow calls of any route are asked of a second backend as well."""
        self._serving = {
            name: tuple(backends[backend] for backend in model.backends) for name, model in models
        }
        self._part_tokens = {name: model.tokens_per.by_kind() for name, model in models}
        self.caller_regions = caller_regions(policy.regions)
        """Where callers are; None where no proxy says so."""
        self.demands = Demands(policy, self._serving)
        self._times = {name: _times(model, self._serving[name]) for name, model in models}

    def limit_by(self, policy: Policy) -> None:
        """Calls that go on by this one come into the limits of that from now on, whichever
        backends and models they come to."""
        self._limiting = policy
        self._of_backends = dict[str, ClaimTemplate]()
        self._of_models = dict[str, ClaimTemplate]()
        self.limits_backends = any(one.flat() for one in policy.limits.backends.values())
        """Whether any backend has limits of its own."""

    def finishes(self, route: str) -> bool:
        """Whether calls of the route run on when their client has hung up."""
        found = (one for one in self.policy.routes if one.name == route)
        return any(one.on_disconnect == "finish" for one in found)

    def model(self, name: str, principal: Principal, named: str = "") -> ModelSpec:
        """The same, without its own name."""
        return self.found(name, principal, named)[1]

    def found(self, name: str, principal: Principal, named: str = "") -> tuple[str, ModelSpec]:
        """A model, by its name or an alias, and its own name; ``named``: one by which it was called
        before. Raises ApiError 403 for a model that the caller's key is not for, 404 for one that
        is not there."""
        alias = self.policy.aliases.get(name)
        target = name if alias is None else alias.of(principal)
        if principal.permitted is not None:
            check_model(principal.permitted, target, named or name)
        found = self.policy.models.get(target)
        if found is None:
            raise ApiError(
                404,
                "model_not_found",
                f"There is no model {target!r} here. GET /v1/models lists those there are.",
                param="model",
            )
        return target, found

    def target(self, name: str, principal: Principal | None = None) -> str:
        """The model that a name stands for, to this caller: its own, where it is no alias."""
        alias = self.policy.aliases.get(name)
        return name if alias is None else alias.of(principal)

    def models_of(self, principal: Principal) -> list[str]:
        """The names, aliases too, of the models that the principal may call: its key is for them,
        and a route that it may take leads to a backend of theirs."""
        policy, permitted = self.policy, principal.permitted
        reached = {name for name in policy.models if self._reaches(name, principal)}
        names = {name: self.target(name, principal) for name in (*policy.models, *policy.aliases)}
        return [
            name
            for name, target in names.items()
            if target in reached and (may_use(permitted, name) or may_use(permitted, target))
        ]

    def _reaches(self, model: str, principal: Principal) -> bool:
        tags = None if self.policy.tags.choose_routes else principal.tags
        task = self.policy.models[model].task
        routes = self._routes.possible(model, task, principal.user, principal.plan, tags)
        return any(self._usable(model, route) for route in routes)

    def of(self, user: str) -> ActivePolicy:
        """Whose routes the user's calls take: these, unless others are tried."""
        return self

    def candidates(self) -> Sequence[ActivePolicy]:
        """Those that are tried beside it."""
        return ()

    def longest(self, model: str) -> float:
        """Seconds after which nobody waits for an answer of the model any more: the longest run
        that any of its backends allows, after the cold start that it was configured with."""
        return self._times[model][0]

    def times(self, model: str) -> tuple[float, float]:
        """(The same, seconds that such a call may wait in line before.)"""
        return self._times[model]

    def rules(self, model: str, route: str) -> RepeatRules:
        """What the policy says of repeating a call of the model that took this route."""
        spec, taken = self.policy.models[model], self._named[route]
        own = spec.task not in ("infer", "other") if spec.idempotent is None else spec.idempotent
        return RepeatRules(
            idempotent=own if taken.idempotent is None else taken.idempotent,
            repeat=taken.repeat,
            retries=taken.retries,
            first_token=taken.first_token,
            answer=taken.answer,
            slo=self.slo(model, route),
        )

    def hedge(self, route: str) -> HedgeSettings | None:
        """When calls that took this route are asked of a second backend as well; None: never."""
        return self._named[route].hedge

    def slo(self, model: str, route: str) -> float:
        """Seconds that a call of the model that took this route may wait."""
        own = self._named[route].slo
        return self.policy.models[model].slo if own is None else own

    def knows(self, route: str) -> bool:
        """Whether it has a route that a call took: not one of a reload before, or of a trial."""
        return route in self._named

    def binds_late(self, route: str) -> bool:
        """Whether a call that waits takes whatever is free first: a route that orders its backends
        itself, by a list or by lot, has said where the call goes."""
        return self._named[route].order in ORDERS_ITSELF

    def asked_again_in(self, model: str, route: str, user: str, now: float) -> float | None:
        """Seconds until the first of the model's backends may be asked; None where nobody can
        say."""
        backends = self._usable(model, self._named[route])
        waits = [backend.asked_again_in(model, user, now) for backend in backends]
        return min((wait for wait in waits if wait is not None), default=None)

    def served_by(self, backend: LiveBackend) -> list[str]:
        """The models that list the backend."""
        return [model for model, serving in self._serving.items() if backend in serving]

    def answers(self, model: str, now: float) -> bool:
        """Whether a call of the model would be sent to a backend, whoever makes it."""
        return any(not one.standing.serves_nobody(now, model) for one in self._serving[model])

    def unserved(self, now: float) -> list[str]:
        """A line that names the models of which no backend is ready; none where there are none."""
        serving = self._serving.items()
        named = [m for m, each in serving if all(one.standing.blocked(now, m) for one in each)]
        return [f"no backend is ready for calls of {', '.join(named)}"] if named else []

    def usable(self, model: str, route: str) -> tuple[LiveBackend, ...]:
        """Where calls of the model that took this route may go."""
        named = self._named.get(route)
        return self._serving[model] if named is None else self._usable(model, named)

    def _usable(self, model: str, route: Route) -> tuple[LiveBackend, ...]:
        serving = inside(self._serving[model], route.regions)
        found = self._usables[model, route.name] = in_order(serving, route.use)
        return found

    def backend(self, name: str) -> LiveBackend:
        """Raises ApiError 404 for an unknown backend."""
        found = self.backends.get(name)
        if found is None:
            words = f"There is no backend {name!r}. The policy has {', '.join(self.backends)}."
            raise ApiError(404, "backend_not_found", words, param="backend")
        return found

    def template(
        self,
        principal: Principal,
        model: str = "",
        now_at: float = 0.0,
        tags: Mapping[str, str] | None = None,
    ) -> ClaimTemplate:
        """The limits of the principal's calls of a model, compiled once for as long as they are the
        same. ``now_at``: seconds since the epoch. ``tags``: those of the call, where it has others
        than its key."""
        key_id = principal.key_id
        more: tuple[tuple[str, str], ...] = ()
        name: Hashable = (key_id, model) if model in self.policy.limits.models else key_id
        if tags is not None and self.policy.limits.tags:
            more = self._limited(principal, tags)
            name = (name, more) if more else name
        found = self._templates.get(name)
        if found is None or found.principal is not principal or found.until <= now_at:
            if principal.token is not None and (name := (principal.id, name)) in self._templates:
                found = self._templates[name]
                if found.principal is principal and found.until > now_at:
                    return found
            if len(self._templates) >= _TEMPLATES_KEPT:
                self._templates.clear()
            found = compile_claims(principal, self.policy, now_at, model, dict(more))
            self._templates[name] = found
        return found

    def _limited(
        self, principal: Principal, tags: Mapping[str, str]
    ) -> tuple[tuple[str, str], ...]:
        """The call's own tags that have limits."""
        own, limits = principal.tags, self.policy.limits
        return tuple([one for one in tags.items() if one[0] not in own and limits.tagged(*one)])

    def backend_template(self, backend: str, now_at: float) -> ClaimTemplate | None:
        """The limits that the backend has itself; None where it has none."""
        if backend not in self._limiting.limits.backends:
            return None
        return _in_force(self._of_backends, backend_claims, self._limiting, backend, now_at)

    def model_template(self, model: str, now_at: float) -> ClaimTemplate | None:
        """The limits that the model has itself; None where it has none."""
        if model not in self._limiting.limits.models:
            return None
        return _in_force(self._of_models, model_claims, self._limiting, model, now_at)

    def input_bound(self, call: Call, preferences: Preferences) -> int:
        """The most tokens that a call should have to read: of its text, one for each byte."""
        parts, known = preferences.parts, self._part_tokens.get(call.model)
        tokens = 0 if parts is TEXT_ALONE or known is None else parts.tokens(known)
        return len(call.body) - parts.data_bytes + tokens

    def priority(self, principal: Principal, preferences: Preferences) -> Priority:
        """The plan's priority, or the lower one that the caller asked for."""
        own = self._priorities.get(principal.plan, "normal")
        asked = preferences.priority or own
        return asked if RANK[asked] < RANK[own] else own

    def decide(
        self,
        call: Call,
        principal: Principal,
        preferences: Preferences,
        *,
        now: float,
        per_day: Callable[[], float],
        draw: Callable[[], float],
        queued: Queued | None = None,
        whenever: bool = False,
    ) -> Decision:
        """Routes one call by the state of this instant; ``queued`` where it waits already.
        ``whenever``: backends that may not be asked just now are quoted too."""
        spec = self.policy.models[call.model]
        priority = self._priorities.get(principal.plan, "normal")
        if preferences.priority is not None:
            priority = self.priority(principal, preferences)
        route = self._routes.match(
            model=call.model,
            task=spec.task,
            user=principal.user,
            plan=principal.plan,
            priority=priority,
            tags=preferences.tags_with(principal.tags)
            if self.policy.tags.choose_routes
            else principal.tags,
            stream=call.stream,
            body_bytes=len(call.body),
            requests_per_day=per_day,
        )
        model, user, parts = call.model, principal.user, preferences.parts
        rank = RANK[priority] if preferences.tags is None else preferences.rank(priority)
        candidates: list[Candidate] = []
        for one in self._usables.get((model, route.name)) or self._usable(model, route):
            ahead = None if queued is None else queued.at(one)
            candidates.append(candidate_of(one, model, now, ahead, user, rank, parts))
        if preferences.session:
            candidates = self._in_session(candidates, call, (user, preferences.session), now)
        if whenever:
            candidates = [available(candidate) for candidate in candidates]
        question = self._question(call, spec, preferences)
        slo = spec.slo if route.slo is None else route.slo
        if preferences.patience is not None and preferences.patience > slo:
            slo = preferences.patience
        if queued is not None:
            slo = max(slo - queued.waited_s, 0.0)
        if preferences.max_price is not None:
            route = _bounded(route, preferences.max_price)
        return decide(question, candidates, route, slo, draw)

    def _question(self, call: Call, spec: ModelSpec, preferences: Preferences) -> RoutingRequest:
        size, output, parts = len(call.body), preferences.output_tokens, preferences.parts
        tokens = 0 if parts is TEXT_ALONE else parts.tokens(self._part_tokens[call.model])
        images = preferences.images or spec.max_images
        bounded = 0 if preferences.unbounded else output
        return RoutingRequest(
            call.task,
            call.stream,
            size,
            output,
            parts,
            tokens,
            images,
            spec.max_audio,
            bool(preferences.session),
            preferences.needs,
            bounded,
            preferences.region,
            preferences.image,
        )

    def _in_session(
        self, candidates: list[Candidate], call: Call, session: tuple[str, str], now: float
    ) -> list[Candidate]:
        """With what each has kept of the conversation; ``session``: whose, and its name."""
        most = len(call.body) // _BYTES_A_TOKEN
        return [
            msgspec.structs.replace(
                one, kept=self.backends[one.name].learned.kept(call.model, session, now, most)
            )
            for one in candidates
        ]


def _in_force(
    known: dict[str, ClaimTemplate],
    compiled: Callable[[Policy, str, float], ClaimTemplate],
    policy: Policy,
    name: str,
    now_at: float,
) -> ClaimTemplate | None:
    """What is known of a name while it holds, else compiled anew; None where it limits nothing."""
    found = known.get(name)
    if found is None or found.until <= now_at:
        found = known[name] = compiled(policy, name, now_at)
    return found if found.limits else None


def _times(model: ModelSpec, serving: tuple[LiveBackend, ...]) -> tuple[float, float]:
    starts = [0.0 if one.learned.cold is None else one.learned.cold.p95 for one in serving]
    runs = [one.spec.common.max_run for one in serving]
    longest = max(map(sum, zip(runs, starts, strict=True)))
    return longest, model.max_wait or max(longest, model.slo)


def _bounded(route: Route, max_price: int) -> Route:
    ceiling = min(max_price, max_price if route.max_price is None else route.max_price)
    return msgspec.structs.replace(route, max_price=ceiling)
