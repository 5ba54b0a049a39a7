"""Which proxy there is to a backend, by its settings or the environment. Pure, but for
``usual_proxy``, which reads the environment."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_LOCAL = ("localhost", "127.0.0.1", "::1")


class Proxy(NamedTuple):
    host: str
    port: int
    authorization: bytes = b""
    """The header line that says who asks; empty: none."""


def proxy_of(url: str, auth: str | None = None) -> Proxy:
    """``url``: http://[USER:PASSWORD@]HOST:PORT; ``auth``: USER:PASSWORD. Raises ValueError, which
    repeats no part of them."""
    try:
        return _proxy_of(url, auth)
    except ValueError:
        # Words of ``urllib.parse`` repeat what stands where a host or a port should.
        raise ValueError("a proxy is http://HOST:PORT") from None


def _proxy_of(url: str, auth: str | None) -> Proxy:
    parts = urlsplit(url)
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme != "http" or not parts.hostname or beyond:
        raise ValueError("it is another URL, or its password ends the part that names the host")
    if auth is None and parts.username is not None:
        auth = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    line = b""
    if auth is not None:
        line = b"Proxy-Authorization: Basic " + base64.b64encode(auth.encode()) + b"\r\n"
    return Proxy(parts.hostname, parts.port or 80, line)


def parse_proxy(value: object) -> str:
    """A setting: 'http://10.0.0.1:3128', or 'off', which YAML may have read as no. Raises
    ValueError, which repeats none of it: it may hold a password."""
    text = str(value)
    if value is False or text.lower() == "off":
        return "off"
    if "@" in text or not text.isprintable() or " " in text:
        raise ValueError("a proxy is http://HOST:PORT; who asks is said by proxy_auth")
    proxy_of(text)
    return text


def proxy_for(
    host: str, secure: bool, given: str | None, auth: str | None, environ: Mapping[str, str]
) -> Proxy | None:
    """The proxy to a backend at ``host``: the ``given`` one, or none where that is "off"; left out,
    what HTTPS_PROXY of the environment says for TLS, unless NO_PROXY names the host or it is this
    machine's. Raises ValueError."""
    if given == "off":
        return None
    if given is not None:
        return proxy_of(given, auth)
    named = environ.get("https_proxy") or environ.get("HTTPS_PROXY")
    if not secure or not named or host in _LOCAL:
        return None
    spared = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if any(_is_spared(host, name.strip().lower()) for name in spared.split(",")):
        return None
    return proxy_of(named if "://" in named else f"http://{named}")


def usual_proxy(host: str, secure: bool, given: str | None, auth: str | None) -> Proxy | None:
    """The same by the environment of this process."""
    return proxy_for(host, secure, given, auth, os.environ)


def _is_spared(host: str, name: str) -> bool:
    """One of NO_PROXY is a host, with those below it, or a star for all."""
    name = name.removeprefix("*").lstrip(".") or name
    return name == "*" or (bool(name) and f".{host.lower()}".endswith(f".{name}"))
