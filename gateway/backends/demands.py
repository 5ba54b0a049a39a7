"""What the backends of each model say that they take, and so what must be known of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from adapters.types import Task
from gateway.backends.live import LiveBackend
from gateway.money.estimates import prompt_tokens
from gateway.money.inputs import InputParts
from gateway.policy.model import Ability, Policy
from gateway.routing.needs import NO_NEEDS, Needs
from gateway.routing.router import LIKELY_PART


class RequestShape(Protocol):
    """A request as far as it decides what it needs."""

    @property
    def model(self) -> str: ...
    @property
    def task(self) -> Task: ...
    @property
    def body(self) -> bytes: ...
    @property
    def parts(self) -> InputParts: ...


class Demands:
    """Of one policy."""

    def __init__(self, policy: Policy, serving: Mapping[str, Sequence[LiveBackend]]) -> None:
        """``serving``: model -> its backends."""
        self._policy = policy
        self.choosy = {
            name
            for name, backends in serving.items()
            if any(one.spec.common.takes is not None for one in backends)
        }
        self._least_context = {
            name: min(known)
            for name, backends in serving.items()
            if (known := [one.context for one in backends if one.context is not None])
        }
        """Models of which a backend does not take whatever a call brings."""
        self.models = self.choosy | self._least_context.keys()
        """Those of whose calls it must be known what they need."""

    def needs(self, asked: RequestShape, abilities: frozenset[Ability]) -> Needs:
        """What a call needs, which brings or asks for ``abilities``."""
        size, tokens = len(asked.body) - asked.parts.data_bytes, 0
        spec = self._policy.models[asked.model]
        if size > self._least_context.get(asked.model, size):
            tokens = prompt_tokens(asked.body, asked.task)
            tokens += asked.parts.tokens(spec.tokens_per.by_kind()) // LIKELY_PART
        if not abilities and not tokens:
            return NO_NEEDS
        return Needs(abilities, tokens, spec.larger is not None)
