"""A batch's own budget: a limit of all its lines together, in the shared store as any other."""

from __future__ import annotations

import msgspec

from gateway.money.scopes import tag_scope
from gateway.storage.base import Claim
from gateway.storage.batches.base import StoredBatch
from gateway.types import BATCH_TAG, Limit, Principal, TaggedLimits

_WINDOW = "31d"
"""Longer than any batch takes: what its first line has cost counts until its last one."""


def within_budget(principal: Principal, batch: StoredBatch) -> Principal:
    """Who calls the batch's lines: its calls may cost no more together than its budget."""
    if batch.budget_nano is None:
        return principal
    limit = Limit("nano_usd", batch.budget_nano, _WINDOW)
    own = TaggedLimits(name=BATCH_TAG, value=batch.id, limits=(limit,))
    return msgspec.structs.replace(principal, tagged=(*principal.tagged, own))


def is_budget_of(principal: Principal, claim: Claim) -> bool:
    """Whether it is the budget of the batch in whose name the principal calls."""
    return any(claim.scope == tag_scope(one.name, one.value) for one in principal.tagged)
