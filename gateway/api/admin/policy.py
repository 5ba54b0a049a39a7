"""/admin/policy: the policy in force, and another one."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

from gateway.api.requests.request import Scope
from gateway.money.text import iso
from gateway.policy.model import Policy
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.warnings.every import warnings_of
from gateway.service import Gateway
from gateway.types import ApiError

ReadPolicy = Callable[[str], Policy]


class PolicyRoutes:
    """Reads policies from request bodies by the reader that it is given."""

    def __init__(self, read: ReadPolicy) -> None:
        self._read_text = read

    async def show(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """With what the last SIGHUP read of the files that the policy names, and why the policy's
        own were refused, where they were."""
        refused = gateway.refused
        return 200, {
            **_summary(gateway.active.policy),
            "files": gateway.files,
            "last_refused": refused
            and {"at": iso(refused.at, "milliseconds"), "problems": refused.problems},
        }

    async def validate(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """Reads a policy without applying it. Raises ApiError 400 with every problem found."""
        return 200, {"valid": True, **_summary(await self._read(body))}

    async def apply(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """In force until the next reload or restart, which read the files again. Raises ApiError
        409 where several processes serve."""
        gateway.check_alone()
        policy = await self._read(body)
        await gateway.apply(policy)
        return 200, {"applied": True, **_summary(policy)}

    async def roll_back(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """Returns to the policy before this one. Raises ApiError 409 when there is none, and where
        several processes serve."""
        gateway.check_alone()
        return 200, {"applied": True, **_summary(await gateway.roll_back())}

    async def _read(self, body: bytes) -> Policy:
        try:
            return await asyncio.to_thread(self._read_text, body.decode())
        except UnicodeDecodeError:
            raise ApiError(400, "invalid_policy", "The policy is not UTF-8 text.") from None
        except PolicyError as error:
            raise ApiError(400, "invalid_policy", str(error)) from None


def _summary(policy: Policy) -> dict[str, Any]:
    today = datetime.datetime.now(datetime.UTC).date()
    return {
        "policy": policy.version,
        "models": list(policy.models),
        "backends": list(policy.backends),
        "routes": [route.name for route in policy.routes],
        "warnings": [str(problem) for problem in warnings_of(policy, today=today)],
    }
