"""``spillgate explain``: asks the running gateway which backend a call would get, and why."""

from __future__ import annotations

import argparse
import json
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.shared import add_config, command, fail, policy_offline
from gateway.policy.model import Policy
from gateway.policy.sections.server import TlsFiles


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: a backend would take the call; 1: none would; 2: nobody could be asked."""
    options = _parser().parse_args(arguments)
    if not options.key:
        fail("give --key, or set SPILLGATE_KEY, so that the key's own plan decides")
    decision = _ask(options, policy_offline(options.config))
    print(json.dumps(decision, indent=2) if options.json else _text(decision))
    return 0 if decision["backend"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "explain",
        "Asks the running gateway which backend a call would get: every candidate's predicted "
        "delay and price, and the rule that decided. The call is not made.",
        "SPILLGATE_KEY=sg-... spillgate explain --config config/default.yaml --model minilm",
    )
    add_config(parser)
    parser.add_argument("--model", required=True)
    parser.add_argument("--stream", action="store_true", help="as if the call streamed")
    parser.add_argument("--max-tokens", type=int, help="the most that the call may produce")
    parser.add_argument("--priority", choices=("high", "normal", "low"))
    parser.add_argument("--max-price", help="US dollars")
    parser.add_argument(
        "--key",
        default=os.environ.get("SPILLGATE_KEY"),
        help="an API key; left out: $SPILLGATE_KEY",
    )
    parser.add_argument("--url", help="left out: where the policy listens")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _ask(options: argparse.Namespace, policy: Policy) -> dict[str, Any]:
    base = options.url or listens_at(policy)
    # The gateway that the policy names is on this machine: no proxy is in its way.
    with httpx.Client(verify=trust_of(policy), timeout=10.0, trust_env=bool(options.url)) as client:
        try:
            answer = client.post(
                f"{base}/v1/route/explain", json=_body(options), headers=_headers(options)
            )
            value: dict[str, Any] = answer.json()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            fail(why_silent(base, error, policy))
        except ValueError:
            fail(f"{base}: HTTP {answer.status_code}, and no JSON; is this the gateway?")
    if answer.status_code != 200:
        fail(f"{base}: {_message(value, answer.status_code)}")
    return value


def listens_at(policy: Policy) -> str:
    """The URL of the policy's gateway on this machine."""
    host, port = policy.server.listen
    scheme = "http" if policy.server.tls == "off" else "https"
    return f"{scheme}://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


def why_silent(base: str, error: Exception, policy: Policy) -> str:
    """What may be the matter with a gateway that could not be asked."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        ca = _authority(policy)
        return (
            f"{base} answers, but its certificate is not trusted ({error}). What is trusted is "
            f"the system's authorities{f' and {ca}' if ca else ''}; another gateway, or another "
            "server.data than its own, has another certificate"
        )
    if "WRONG_VERSION_NUMBER" in str(error) or "disconnected without" in str(error):
        return f"{base} does not speak {base.partition(':')[0]} ({error}): see server.tls"
    return f"{base} does not answer ({error}); is the gateway running?"


def _headers(options: argparse.Namespace) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {options.key}"}
    if options.priority:
        headers["X-Spillgate-Priority"] = options.priority
    if options.max_price:
        headers["X-Spillgate-Max-Price"] = options.max_price
    return headers


def _message(value: Any, status: int) -> str:
    try:
        return str(value["error"]["message"])
    except (KeyError, TypeError):
        return f"HTTP {status}"


def _body(options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"model": options.model, "stream": options.stream}
    if options.max_tokens is not None:
        body["max_tokens"] = options.max_tokens
    return body


def trust_of(policy: Policy) -> ssl.SSLContext:
    """Whom a client of the policy's gateway believes: its own authority too."""
    context = ssl.create_default_context()
    if (ca := _authority(policy)) is not None:
        context.load_verify_locations(ca)
    return context


def _authority(policy: Policy) -> Path | None:
    """The gateway's own, where it has made one, or what its certificate's file says."""
    tls = policy.server.tls
    own = Path(tls.cert) if isinstance(tls, TlsFiles) else Path(policy.server.data, "tls", "ca.pem")
    return own.absolute() if own.is_file() else None


def _text(decision: dict[str, Any]) -> str:
    lines = [
        f"{decision['backend'] or 'no backend'}  {decision['reason']}  route {decision['route']}  "
        f"slo {decision['slo_seconds']:g} s  policy {decision['policy']}",
    ]
    for row in decision["candidates"]:
        lines.append(
            f"  {row['backend']:<20} delay {row['predicted_delay_seconds']:.3f} s{_cold(row)}, "
            f"price ${row['predicted_price_usd']:.6f}, hold ${row['hold_usd']:.6f}{_last(row)}"
        )
    for row in decision["refused"]:
        why = f": {row['message']}" if row.get("message") else ""
        lines.append(f"  {row['backend']:<20} not asked: {row['reason']}{why}")
    if hedge := decision.get("hedge"):
        lines.append(_hedge(hedge))
    if bound := decision.get("output_bound"):
        lines.append(f"the answer would be at most {bound} tokens long, as far as the budget goes")
    for row in decision.get("would_be_refused", ()):
        lines.append(f"would be refused now: {row['status']} {row['code']}: {row['message']}")
    return "\n".join(lines)


def _hedge(hedge: dict[str, Any]) -> str:
    after = hedge["after_seconds"]
    when = "once enough answers are known" if after is None else f"after {after:.3f} s"
    return f"a slow call is asked of {hedge['backend'] or 'nobody else now'} as well, {when}"


def _last(row: dict[str, Any]) -> str:
    why = row.get("last_resort")
    return f", asked last: {why}" if why else ""


def _cold(row: dict[str, Any]) -> str:
    if row["predicted_load_seconds"]:
        return f" (with {row['predicted_load_seconds']:.3f} s to load the model)"
    return " (cold start)" if row["cold_start"] else ""
