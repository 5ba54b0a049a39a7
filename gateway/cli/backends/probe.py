"""``spillgate probe``: one screen about one backend, asked directly and not through a gateway."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import Sequence
from typing import Any

from adapters.base import Backend
from adapters.types import Call
from gateway.app import backend_maker
from gateway.cli.backends.probe_report import ProbeFindings, as_json, as_text, ask_all
from gateway.cli.shared import add_config, command, fail, policy_offline, unset_secret
from gateway.clock import SystemClock
from gateway.money.tariffs import price_at
from gateway.policy.model import BackendSpec, ModelSpec, Policy

_SAY = "Say ok."
_BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": _SAY}], "max_tokens": 8},
    "completions": {"prompt": _SAY, "max_tokens": 8},
    "embeddings": {"input": _SAY},
    "infer": {},
    "images": {"prompt": _SAY},
    "speech": {"input": _SAY, "voice": "alloy"},
    "rerank": {"query": _SAY, "documents": [_SAY]},
    "moderations": {"input": _SAY},
    "score": {"text_1": _SAY, "text_2": _SAY},
}


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: all is well, 1: something is not, 2: the backend could not be asked."""
    options = _parser().parse_args(arguments)
    policy = policy_offline(options.config)
    spec = _backend(policy, options.backend)
    found = asyncio.run(_ask(policy, spec, options))
    print(json.dumps(as_json(found), indent=2) if options.json else as_text(found))
    return 0 if found.well else 1


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "probe",
        "Does the key work, what is warm, what does a call cost, and does the platform do what "
        "this kind of backend takes for granted? Spends nothing without --call. Exit status 0: "
        "all is well; 1: something is not; 2: it could not be asked.",
        "spillgate probe burst --config config/default.yaml",
    )
    parser.add_argument("backend", help="its name in the policy")
    add_config(parser)
    parser.add_argument(
        "--call",
        action="store_true",
        help="make one small call and measure it: the platform charges it, and no ledger has it",
    )
    parser.add_argument("--model", help="whose call; left out: the backend's first in the policy")
    parser.add_argument("--body", help="JSON of the call; left out: a few words, or {}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _backend(policy: Policy, name: str) -> BackendSpec:
    spec = policy.backends.get(name)
    if spec is None:
        fail(f"no backend {name!r}; the policy has {', '.join(policy.backends) or 'none'}")
    if (unset := unset_secret(spec)) is not None:
        fail(str(unset))
    return spec


async def _ask(policy: Policy, spec: BackendSpec, options: argparse.Namespace) -> ProbeFindings:
    clock = SystemClock()
    backend: Backend = backend_maker(clock)(spec)
    call = _call(policy, spec, options) if options.call else None
    prices = policy.prices[spec.common.price] if spec.common.price else None
    price = None if prices is None else price_at(prices, clock.time())
    await backend.start()
    try:
        return await ask_all(backend, spec, price, call, clock)
    finally:
        await backend.aclose()


def _call(policy: Policy, spec: BackendSpec, options: argparse.Namespace) -> Call:
    name, model = _model(policy, spec, options.model)
    return Call(
        id=f"probe-{secrets.token_hex(8)}",
        model=name,
        task=model.task,
        body=_body(name, model, options.body),
    )


def _model(policy: Policy, spec: BackendSpec, wanted: str | None) -> tuple[str, ModelSpec]:
    served = {name: one for name, one in policy.models.items() if spec.name in one.backends}
    name = wanted or next(iter(served), None)
    if name is None or name not in served:
        fail(f"{spec.name} serves {', '.join(served) or 'no model'}; give one with --model")
    return name, served[name]


def _body(name: str, model: ModelSpec, given: str | None) -> bytes:
    if given is None:
        if model.task not in _BODIES:
            fail(f"{name} does {model.task}: give the body of a call with --body")
        body = _BODIES[model.task]
        return json.dumps(body if model.task == "infer" else {"model": name, **body}).encode()
    try:
        json.loads(given)
    except ValueError as error:
        fail(f"--body is no JSON: {error}")
    return given.encode()
