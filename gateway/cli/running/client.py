"""Asks a running gateway: by its Unix socket on this machine, or by its URL with an admin's key."""

from __future__ import annotations

import argparse
import contextlib
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from gateway.cli.serving.local_socket import FILE, answers, short_path
from gateway.cli.shared import add_config, fail, policy_offline

_TIMEOUT_S = 60.0


def add_gateway(parser: argparse.ArgumentParser) -> None:
    """The options by which a gateway is found, and ``--json``."""
    add_config(parser)
    parser.add_argument(
        "--url",
        default=os.environ.get("SPILLGATE_URL"),
        help="a gateway elsewhere, such as https://gpus.example.com:8443; left out: "
        "$SPILLGATE_URL, else the one on this machine, which takes its own user without a key",
    )
    parser.add_argument(
        "--key",
        default=os.environ.get("SPILLGATE_ADMIN_KEY"),
        help="an admin's key for --url; left out: $SPILLGATE_ADMIN_KEY",
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="the certificate authority of --url's certificate"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


class GatewayRefused(Exception):
    """The gateway answered with an error. The message is for the user."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RunningGateway:
    """A connection to one; ``said`` is where it is, in words, and ``open_ones`` what it needs."""

    def __init__(
        self, client: httpx.Client, said: str, open_ones: contextlib.ExitStack | None = None
    ) -> None:
        self._client = client
        self._open = open_ones or contextlib.ExitStack()
        self.said = said

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The answer's JSON. Raises GatewayRefused, and ends the program where nobody answers."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, value: Any = None, *, within_s: float = _TIMEOUT_S) -> Any:
        """As ``get``; ``within_s`` is how long the answer may take."""
        return self._ask("POST", path, json={} if value is None else value, timeout=within_s)

    def send(self, method: str, path: str, text: str) -> Any:
        """As ``get``, with a text as the body."""
        return self._ask(method, path, content=text.encode())

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._client.request(method, path, **more)
            value = answer.json()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            fail(f"{self.said}: {error}")
        except ValueError:
            fail(f"{self.said}: HTTP {answer.status_code}, and no JSON; is this the gateway?")
        if answer.is_success or (answer.status_code == 503 and "status" in value):
            return value
        told = value.get("error") or {}
        message = told.get("message") or f"HTTP {answer.status_code}"
        raise GatewayRefused(answer.status_code, told.get("code") or "", message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._open.close()


def reach(options: argparse.Namespace) -> RunningGateway:
    """The gateway that the options name. Ends the program where there is none."""
    if options.url:
        return _remote(options)
    folder = Path(policy_offline(options.config).server.data)
    if not answers(folder):
        fail(f"{_why_not(folder)}; {_to_start(options.config)}")
    open_ones = contextlib.ExitStack()
    client = _local(open_ones.enter_context(short_path(folder)))
    return RunningGateway(client, f"the gateway of {options.config}", open_ones)


def _why_not(folder: Path) -> str:
    try:
        owner = (folder / FILE).stat().st_uid
    except PermissionError:
        return f"{folder} belongs to another user: run this as that user"
    except OSError:
        return f"no gateway runs with its data in {folder.absolute()}"
    if owner != os.geteuid():
        return f"{folder / FILE} belongs to another user: run this as that user"
    return f"no gateway answers by {folder / FILE}"


def _to_start(config: Path) -> str:
    return f"start it with `spillgate serve --config {config}`, or give --url and --key of another"


def _local(path: str) -> httpx.Client:
    """The path is that of a descriptor, and must stay as long as connections are made."""
    transport = httpx.HTTPTransport(uds=path)
    return httpx.Client(
        transport=transport, base_url="http://spillgate", timeout=_TIMEOUT_S, trust_env=False
    )


def _remote(options: argparse.Namespace) -> RunningGateway:
    if not options.key:
        fail("give --key, or set SPILLGATE_ADMIN_KEY: a gateway elsewhere asks for an admin's key")
    if not options.key.isascii():
        fail("--key: what was given is no API key, which has letters of ASCII alone")
    headers = {"Authorization": f"Bearer {options.key}"}
    try:
        trust = ssl.create_default_context(cafile=options.ca)
    except OSError as error:
        fail(f"--ca {options.ca}: {error.strerror or error}")
    try:
        client = httpx.Client(
            base_url=options.url, headers=headers, verify=trust, timeout=_TIMEOUT_S
        )
    except httpx.InvalidURL as error:
        fail(f"--url {options.url}: {error}")
    return RunningGateway(client, options.url)
