"""The words of the contract, for the stages of our own kinds."""

from __future__ import annotations

from spillgate_contract.stage import KEY, Scenario, Stage, call_for, until

__all__ = ["KEY", "Scenario", "Stage", "call_for", "until"]
