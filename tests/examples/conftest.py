"""The stages of the adapters' contract: the spare backend is one of them."""

from __future__ import annotations

from tests.adapters.conftest import stages

__all__ = ["stages"]
