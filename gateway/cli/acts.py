"""Commands that change something leave entries in the audit log, by the system's user who runs
them; what cannot be audited is not done."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
from collections.abc import Iterator

import msgspec

from gateway.clock import SystemClock
from gateway.opening.stores import open_keys
from gateway.policy.model import Policy
from gateway.storage.audit import Act, AuditLog
from gateway.storage.base import StorageUnavailable
from gateway.types import ApiError

log = logging.getLogger("spillgate")

ACTS = {
    ("keys", "create"): "key.create",
    ("keys", "revoke"): "key.revoke",
    ("keys", "rotate"): "key.rotate",
    ("webhooks", "test"): "webhook.test",
    ("webhooks", "redeliver"): "webhook.redeliver",
    ("webhooks", "enable"): "webhook.enable",
    ("usage", "--book"): "bill.book",
}
"""(command, what it is told to do) -> how the act is called; whatever is not here changes
nothing that a gateway keeps."""


def act_of_this_user(name: str, target: str = "", **details: str) -> Act:
    """An act for the audit log, by the system's user who runs the command."""
    try:
        who = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        who = str(os.getuid())
    return Act(at=SystemClock().time(), actor=f"os:{who}", act=name, target=target, details=details)


@contextlib.contextmanager
def audited(policy: Policy, act: Act) -> Iterator[None]:
    """Writes that ``act`` began, and how what is done within ended. Raises StorageUnavailable, and
    nothing is done, where no entry can be written."""
    keys = open_keys(policy, SystemClock())
    try:
        keys.record(msgspec.structs.replace(act, outcome="begun"))
        try:
            yield
        except BaseException as error:
            refused = f"refused: {error.code}" if isinstance(error, ApiError) else None
            _ended(keys, act, refused or f"failed: {type(error).__name__}")
            raise
        _ended(keys, act, "done")
    finally:
        keys.close()


def _ended(keys: AuditLog, act: Act, outcome: str) -> None:
    """Of what cannot be undone any more: its beginning stands in the audit log."""
    try:
        keys.record(msgspec.structs.replace(act, at=SystemClock().time(), outcome=outcome))
    except StorageUnavailable as unavailable:
        log.error("the audit log lacks that %s is %s: %s", act.act, outcome, unavailable)
