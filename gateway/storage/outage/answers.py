"""What becomes of calls, scope by scope, while nobody can say how their limits stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.storage.base import Claim
from gateway.types import LostAnswer


class LostAnswers(msgspec.Struct, frozen=True):
    """``by_scope``: kind of scope, such as ``user`` -> its answer; ``rest``: that of the others."""

    by_scope: Mapping[str, LostAnswer] = {}
    rest: LostAnswer = "closed"

    def of(self, claim: Claim) -> LostAnswer:
        """That of a claim's scope."""
        return self.by_scope.get(claim.scope.partition(":")[0], self.rest)

    def has(self, answer: LostAnswer) -> bool:
        """Whether it is that of any scope."""
        return answer in (self.rest, *self.by_scope.values())

    @property
    def all_closed(self) -> bool:
        """Nothing with a limit goes on."""
        return not (self.has("open") or self.has("share"))

    def __str__(self) -> str:
        each = [f"{scope}: {answer}" for scope, answer in self.by_scope.items()]
        return ", ".join([*each, f"rest: {self.rest}"]) if each else self.rest
