"""What starts and stops an instance: a URL that is posted to, or a program that is run.

    POST URL            {"action": "start", "instance": ID, "reserve": NAME, "backend": NAME}
    PROGRAM start ID    SPILLGATE_RESERVE and SPILLGATE_BACKEND in its environment

A status of 2xx, and the exit status 0, say that it is done; any other that it is not. Where nothing
comes within the time, or the connection breaks, nobody knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Literal, Protocol

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
        try:
            async with asyncio.timeout(rented.timeout_s):
                if hook.startswith("/"):
                    return await _run(hook, action, rented)
                return await _post(hook, action, rented, token)
        except TimeoutError:
            return HookOutcome(None, f"no answer within {rented.timeout_s:g} s")


async def _run(program: str, action: Action, rented: Rented) -> HookOutcome:
    try:
        printed = Printed()
        try:
            process = await _begin(program, action, rented, printed.end)
        finally:
            printed.leave_to_others()
    except OSError as error:
        return HookOutcome(False, f"{program} cannot be run: {error.strerror or error}")
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


async def _post(url: str, action: Action, rented: Rented, token: str) -> HookOutcome:
    import httpx  # when there is something to call

    headers = {"Authorization": f"Bearer {token}"} if token else {}
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
            client.stream("POST", url, json=body, headers=headers) as answer,
        ):
            if answer.is_success:
                return HookOutcome(True)
            return HookOutcome(False, f"status {answer.status_code}")
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
        return HookOutcome(False, f"it cannot be reached: {error}"[:_SAID])
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return HookOutcome(None, f"{type(error).__name__}: {error}"[:_SAID])
