"""What another policy would have cost: recent calls of the ledger, played by it and by the one in
force, as ``spillgate replay --config`` plays them. That takes a core for seconds, so a process of
its own does it, below the gateway's priority, and no two at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import msgspec

from gateway.money.call_streams import CallStream
from gateway.service import Gateway
from gateway.storage.queries import CallsQuery, UsageQuery
from gateway.types import ApiError

HOURS = 24
"""Calls of so long a time, until now."""
MOST_CALLS = 5_000
"""The newest of them."""
_LEAST_CALLS = 20
_WITHIN_S = 180.0
_NICER = 5
_CALLS = {"kind": "call", "outcome": "success"}
_running: set[str] = set()


class Played(msgspec.Struct, frozen=True):
    """What one policy came to over the calls that were judged, by ``spillgate replay --json``."""

    calls: int
    judged_seconds: float
    cost_per_1000: float
    slo_attainment: float
    cold_share: float
    refused: dict[str, int] = {}
    """Calls without an answer, by the code of their error."""

    @property
    def unanswered(self) -> int:
        """All of these."""
        return sum(self.refused.values())


class DraftPlayed(msgspec.Struct, frozen=True):
    """The policy in force, and the other one."""

    now: Played
    then: Played

    @property
    def saves(self) -> float:
        """The share of the cost that the other one would have saved; below nothing: cost more."""
        return 1 - self.then.cost_per_1000 / self.now.cost_per_1000 if self.now.cost_per_1000 else 0


async def replayed(
    gateway: Gateway, draft: str, now_at: float, python: str = sys.executable
) -> DraftPlayed:
    """``draft`` beside the policy in force; ``python`` runs it. Raises ApiError 409 where one runs,
    or where too few calls are known, and 503 where it came to nothing; StorageUnavailable."""
    if _running:
        raise _refusal(409, "A replay runs already. Ask again when it has ended, in a minute.")
    _running.add(draft)
    try:
        with tempfile.TemporaryDirectory(prefix="spillgate-replay-") as folder:
            calls = await _recent(gateway, now_at, Path(folder))
            texts = gateway.active.policy.document, draft
            now, then = [await _played(python, calls, text) for text in texts]
            return DraftPlayed(now, then)
    finally:
        _running.clear()


async def _recent(gateway: Gateway, now_at: float, folder: Path) -> Path:
    """Calls that the ledger has, as a file for a replay."""
    rows = UsageQuery(since=now_at - HOURS * 3_600, until=now_at, where=_CALLS)
    query = CallsQuery(rows=rows, most=1)
    stream = CallStream(gateway.ledger, query, "jsonl", attempts=False, now_at=now_at)
    path, known = folder / "calls.jsonl", 0
    with path.open("wb") as file:
        async for piece in stream.pieces():
            file.write(piece)
            known += piece.count(b"\n")
            if known >= MOST_CALLS:
                break
    if known < _LEAST_CALLS:
        raise _refusal(
            409,
            f"The ledger has {known} answered calls of the last {HOURS} hours: too few to say what "
            "another policy would have cost.",
        )
    return path


async def _played(python: str, calls: Path, text: str) -> Played:
    policy = calls.with_name("policy.yaml")
    policy.write_text(text, encoding="utf-8")
    command = (python, "-m", "gateway", "replay", str(calls), "--config", str(policy))
    process = await asyncio.create_subprocess_exec(
        *command,
        "--json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        with contextlib.suppress(OSError):  # it has ended, or may not be made nicer
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICER)
        async with asyncio.timeout(_WITHIN_S):
            told, complained = await process.communicate()
    except TimeoutError:
        words = f"The replay took longer than {_WITHIN_S:g} s, and was ended."
        raise _refusal(503, words) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        said = complained.decode(errors="replace").strip().rpartition("\n")[2]
        raise _refusal(503, f"The replay came to nothing: {said or process.returncode}.")
    return msgspec.json.decode(told, type=Played)


def _refusal(status: int, words: str) -> ApiError:
    return ApiError(status, "replay_unavailable", words)
