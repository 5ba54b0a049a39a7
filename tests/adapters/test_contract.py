"""What every kind of backend keeps, against something real behind each.

The suite is ``spillgate_contract``, which packages with kinds of their own run as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from spillgate_contract import Contract, Stage
from spillgate_contract.playing import begin, started, whole
from tests.adapters.stages import SCENARIOS

__all__ = ["begin", "started", "whole"]


class OfAKind(Contract):
    kind: ClassVar[str]

    @pytest.fixture
    def stage(self, stages: Callable[[str], Stage]) -> Stage:
        return stages(self.kind)


def contract_of(kind: str) -> type[OfAKind]:
    """The class that plays the contract on one kind."""
    return type(f"Test{kind.title()}", (OfAKind,), {"kind": kind, "scenarios": SCENARIOS[kind]})


globals().update({f"Test{kind.title()}": contract_of(kind) for kind in sorted(SCENARIOS)})
