"""What other names of models stand for, and for whom. Pure."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from adapters.settings import SettingError
from gateway.policy.sections.user_shares import share_of
from gateway.policy.syntax.scalars import ModelName, Name
from gateway.types import Principal

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class Alias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another name of a model, that callers may give; or of several, of which each caller gets
    one."""

    alias: ModelName | None = None
    """The model that is called by it: one that is no alias itself."""
    split: dict[ModelName, Percent] = {}
    """In place of ``alias``: versions of a model, each with the percentage of the users who get
    it."""
    by_tag: Name | None = None
    """Of ``split``: whose keys have the same value of this tag get the same version; left out, and
    without the tag: each user by himself."""

    def __post_init__(self) -> None:
        if (self.alias is None) is (not self.split):
            raise SettingError(("split",), "a name is one of a model, or of a split")
        if self.split and not math.isclose(sum(self.split.values()), 100, abs_tol=1e-6):
            raise SettingError(("split",), "the percentages of all versions are 100 together")

    def of(self, principal: Principal | None) -> str:
        """The model that a caller gets: always the same one, as long as the percentages are so;
        without a caller the one that most get."""
        if self.alias is not None:
            return self.alias
        if principal is None:
            return max(self.split, key=lambda name: self.split[name])
        whose = self.by_tag and principal.tags.get(self.by_tag)
        at = share_of(whose or principal.user, b"split")
        return self._at(at)

    def _at(self, at: float) -> str:
        for name, percent in self.split.items():
            at -= percent
            if at < 0:
                return name
        return next(name for name, percent in reversed(self.split.items()) if percent)
