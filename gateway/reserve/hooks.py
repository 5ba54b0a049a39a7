"""What starts and stops an instance: a URL that is posted to, or a program that is run.

    POST URL            {"action": "start", "instance": ID, "reserve": NAME, "backend": NAME}
    PROGRAM start ID    SPILLGATE_RESERVE and SPILLGATE_BACKEND in its environment

A status of 2xx, and the exit status 0, say that it is done; any other that it is not. Where nothing
comes within the time, or the connection breaks, nobody knows. What fails before a byte is sent is
not done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from gateway.reserve.printed import Printed
from gateway.reserve.rented import Rented

Action = Literal["start", "stop"]
_SAID = 200
"""Characters of an answer that are told."""
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")
"""Of the gateway's own environment, which has secrets."""


class HookOutcome(msgspec.Struct, frozen=True):
    """What a hook has come to."""

    done: bool | None
    """None: nobody knows."""
    said: str = ""
    """For a person."""


class Hooks(Protocol):
    """Calls them."""

    async def call(self, hook: str, action: Action, rented: Rented, token: str = "") -> HookOutcome:
        """Within ``rented.timeout_s``. Never raises, cancellation apart."""
        ...


class RealHooks:
    """By HTTP, and as processes that are killed when their time is over."""

    async def call(self, hook: str, action: Action, rented: Rented, token: str = "") -> HookOutcome:
        """As ``Hooks`` has it."""
        attempt = _Attempt()
        try:
            async with asyncio.timeout(rented.timeout_s):
                if hook.startswith("/"):
                    return await _run(hook, action, rented, attempt)
                return await _post(hook, action, rented, token, attempt)
        except TimeoutError:
            return attempt.failed(f"no answer within {rented.timeout_s:g} s")
        except Exception as error:
            return attempt.failed(f"{type(error).__name__}: {error}")


class _Attempt:
    """How far it has come."""

    def __init__(self) -> None:
        self.has_begun = False
        """The program may run, or a byte may have been sent."""

    async def hear(self, event: str, _: Mapping[str, Any]) -> None:
        """What httpcore tells of a request (its extension ``trace``)."""
        self.has_begun = self.has_begun or event.startswith("http11.")

    def failed(self, why: str) -> HookOutcome:
        """Nothing is done where it had not begun."""
        if self.has_begun:
            return HookOutcome(None, why[:_SAID])
        return HookOutcome(False, f"it cannot be reached: {why}"[:_SAID])


async def _run(program: str, action: Action, rented: Rented, attempt: _Attempt) -> HookOutcome:
    try:
        printed = Printed()
        try:
            attempt.has_begun = True
            process = await _begin(program, action, rented, printed.end)
        finally:
            printed.leave_to_others()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return HookOutcome(False, f"{program} cannot be run: {why}")
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status == 0:
        return HookOutcome(True)
    said = printed.text()[-_SAID:]
    return HookOutcome(None if status < 0 else False, f"exit status {status}: {said}".rstrip(": "))


async def _begin(
    program: str, action: Action, rented: Rented, stderr: int
) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    told = {"SPILLGATE_RESERVE": rented.reserve, "SPILLGATE_BACKEND": rented.backend}
    return await asyncio.create_subprocess_exec(
        program,
        action,
        rented.id,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=stderr,
        env={**kept, **told},
        start_new_session=True,
    )


async def _post(
    url: str, action: Action, rented: Rented, token: str, attempt: _Attempt
) -> HookOutcome:
    import httpx  # when there is something to call

    body = {
        "action": action,
        "instance": rented.id,
        "reserve": rented.reserve,
        "backend": rented.backend,
    }
    try:
        async with (
            httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=rented.timeout_s
            ) as client,
            client.stream(
                "POST",
                url,
                json=body,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                extensions={"trace": attempt.hear},
            ) as answer,
        ):
            if answer.is_success:
                return HookOutcome(True)
            return HookOutcome(False, f"status {answer.status_code}")
    except httpx.LocalProtocolError:  # its text may hold the token
        return HookOutcome(False, "its request cannot be sent as HTTP")
