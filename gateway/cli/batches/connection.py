"""Asks a gateway for files and batches, by the key of whoever pays for them."""

from __future__ import annotations

import argparse
import contextlib
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.policies.explain import listens_at, trust_of, why_silent
from gateway.cli.shared import add_config, fail, policy_offline

_TIMEOUT = httpx.Timeout(60.0, write=None)


def add_connection(parser: argparse.ArgumentParser) -> None:
    """The options by which a gateway is found, and ``--json``."""
    add_config(parser)
    parser.add_argument("--url", help="a gateway elsewhere; left out: where the policy listens")
    parser.add_argument(
        "--key",
        default=os.environ.get("SPILLGATE_KEY"),
        help="an API key; left out: $SPILLGATE_KEY",
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="the certificate authority of --url's certificate"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


class BatchRefused(Exception):
    """The gateway answered with an error. The message is for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class GatewayAway(Exception):
    """Nobody answers at the moment. The message is for the user."""


class BatchConnection:
    """To one gateway. What it asks raises BatchRefused and GatewayAway."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str) -> Any:
        return self._json("GET", path)

    def post(self, path: str, value: Any, headers: Mapping[str, str] | None = None) -> Any:
        return self._json("POST", path, json=value, headers=headers)

    def upload(self, path: Path) -> str:
        """The id of the stored file; it is read as it is sent."""
        with path.open("rb") as file:
            form = {"file": (path.name, file, "application/jsonl")}
            stored = self._json("POST", "/v1/files", data={"purpose": "batch"}, files=form)
        return str(stored["id"])

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a page, as they come."""
        with _away(), self._client.stream("GET", path) as answer:
            if not answer.is_success:
                answer.read()
                raise _refused(answer)
            rest = b""
            for piece in answer.iter_bytes():
                *whole, rest = (rest + piece).split(b"\n")
                yield from (line + b"\n" for line in whole)

    def _json(self, method: str, path: str, **more: Any) -> Any:
        with _away():
            answer = self._client.request(method, path, **more)
        if not answer.is_success:
            raise _refused(answer)
        return answer.json()


@contextlib.contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise GatewayAway(str(error) or type(error).__name__) from error


def _refused(answer: httpx.Response) -> Exception:
    """503 and the like are of the moment."""
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {answer.status_code}"
    if answer.status_code in (429, 502, 503):
        return GatewayAway(message)
    return BatchRefused(answer.status_code, message)


@contextlib.contextmanager
def connected(options: argparse.Namespace) -> Iterator[BatchConnection]:
    """Ends the program where there is no key, or nobody answers."""
    if not options.key:
        fail("give --key, or set SPILLGATE_KEY: a batch is called by its caller's own key")
    policy = None if options.url else policy_offline(options.config)
    base = options.url or listens_at(policy_offline(options.config))
    try:
        trust = (
            ssl.create_default_context(cafile=options.ca) if policy is None else trust_of(policy)
        )
    except OSError as error:
        fail(f"--ca {options.ca}: {error}")
    headers = {"Authorization": f"Bearer {options.key}"}
    with httpx.Client(
        base_url=base, headers=headers, verify=trust, timeout=_TIMEOUT, trust_env=policy is None
    ) as client:
        try:
            client.get("/healthz")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            fail(f"{base}: {error}" if policy is None else why_silent(base, error, policy))
        yield BatchConnection(client)
