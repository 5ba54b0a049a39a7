"""What a policy may say of a backend of every kind: refused in its place, or served."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adapters import load_kind
from adapters.errors import BackendError
from adapters.types import Call
from gateway.app import backend_maker
from gateway.clock import SystemClock
from gateway.policy.model import Policy
from gateway.policy.reader import read_with_places
from gateway.policy.syntax.problems import PolicyError
from gateway.preflight.startable import check_startable

NOWHERE = "http://127.0.0.1:9"
_KEYED = {"base_url": NOWHERE, "api_key": "${KEY}"}
_FUNCTION = {
    "kind": "modal", "app": "a", "server_url": NOWHERE, "token_id": "${KEY}",
    "token_secret": "${KEY}",
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "baseten": {**_KEYED, "model": "m1", "management_url": NOWHERE},
    "cog": {"base_url": NOWHERE},
    "http": {"base_url": NOWHERE},
    "huggingface": {**_KEYED, "endpoint": "o/n", "management_url": NOWHERE},
    "modal": {"url": NOWHERE},
    "openai": {"base_url": NOWHERE},
    "potassium": {"base_url": NOWHERE},
    "replicate": {**_KEYED, "deployment": "o/n"},
    "runpod": {**_KEYED, "endpoint": "e", "management_url": NOWHERE},
    "vercel": _KEYED,
}
IN_TROUBLE = ("", " ", "a b", "../x", "a/b/c", "a?b#c", "é", "a\r\nX: y", "\u2028", "%zz", "\x00")
"""Texts that would break a URL, a header, or whatever holds them."""
OUT_OF_BOUNDS = (-1, 0, 10**30, 0.5)


def policy_of(settings: dict[str, Any]) -> Policy:
    """Raises PolicyError as ``spillgate check`` does."""
    text = json.dumps({"version": 1, "backends": {"b": settings}, "models": {"m": _INFER}})
    policy, places = read_with_places(text, {"KEY": "k"})
    check_startable(policy, places, backend_maker(SystemClock()), files=False)
    return policy


def accepted(settings: dict[str, Any]) -> Policy | None:
    """The policy; None where it is refused in its place."""
    try:
        return policy_of(settings)
    except PolicyError as error:
        if not all(problem.path.startswith("backends.b") for problem in error.problems):
            raise
        return None


_INFER = {"task": "infer", "backends": ["b"]}


async def ask_everything(policy: Policy) -> None:
    """Raises what is no BackendError."""
    clock = SystemClock()
    backend = backend_maker(clock)(policy.backends["b"])
    await backend.start()
    until = clock.monotonic() + 0.2
    call = Call(id="c1", model="m", task="infer", body=b'{"a":1}', deadline=until)
    try:
        await backend.probe()
        with pytest.raises(BackendError):
            await backend.invoke(call)
        with pytest.raises(BackendError):
            await backend.invoke(msgspec.structs.replace(call, stream=True))
    finally:
        await backend.aclose()


@pytest.mark.parametrize("kind", GOOD)
async def test_what_is_accepted_is_served_without_a_traceback(kind: str) -> None:
    tried = 0
    for field in msgspec.structs.fields(load_kind(kind).Settings):
        for value in (*IN_TROUBLE, *OUT_OF_BOUNDS):
            settings = {"kind": kind, "connect_timeout": "200ms", **GOOD[kind], field.name: value}
            policy = accepted(settings)
            if policy is not None:
                tried += 1
                await ask_everything(policy)
    assert tried


UNASKED = frozenset(("http", "modal", "potassium"))
"""They are not asked as they are set up here, or take a closed port for a start."""


@pytest.mark.parametrize("kind", sorted(GOOD.keys() - UNASKED))
async def test_where_nobody_is_is_told_to_the_operator_alone(kind: str) -> None:
    backend = backend_maker(SystemClock())(policy_of({"kind": kind, **GOOD[kind]}).backends["b"])
    await backend.start()
    try:
        probe = await backend.probe()
    finally:
        await backend.aclose()
    assert (probe.ready, probe.detail) == (False, "The backend could not be reached.")
    assert probe.told == "The backend could not be reached. (127.0.0.1:9: Connection refused)"


STEPS = {
    ("baseten", "environment"), ("baseten", "deployment"), ("baseten", "model"),
    ("huggingface", "endpoint"), ("replicate", "deployment"), ("replicate", "model"),
    ("runpod", "endpoint"), ("vercel", "team"),
}  # fmt: skip
"""Settings that become part of a URL, or of a header."""


@pytest.mark.parametrize(("kind", "key"), sorted(STEPS))
@pytest.mark.parametrize("value", IN_TROUBLE, ids=ascii)
def test_what_becomes_part_of_a_url_can_stand_in_one(kind: str, key: str, value: str) -> None:
    settings = {"kind": kind, **GOOD[kind], key: value}
    if key == "model" and kind == "replicate":
        del settings["deployment"]
    with pytest.raises(PolicyError, match=r"backends\.b"):
        policy_of(settings)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"function": " f"}, id="a-blank-before-the-name"),
        pytest.param({"function": "f", "min_containers": -1}, id="fewer-than-none"),
        pytest.param(
            {"function": "f", "min_containers": 3, "max_containers": 2}, id="min-above-max"
        ),
    ],
)
def test_what_modal_would_refuse_later_is_refused_now(settings: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=r"backends\.b"):
        policy_of({**_FUNCTION, **settings})
