"""The scalars that a YAML setting may be, beside plain str, int, float, bool and Literal.

A kind's settings are one frozen ``msgspec.Struct``; its field types are the schema. The policy
reader walks those types, so a platform's file alone says which keys it takes, and an editor's
JSON Schema is made from the same types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Protocol, runtime_checkable
from urllib.parse import SplitResult, urlsplit

import msgspec

from adapters.proxies import parse_proxy
from adapters.regular_files import read_regular
from adapters.trust import certificate_of, check_certificate

_DURATION = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>ms|s|m|h|d)?\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SIZE = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>B|KB|KiB|MB|MiB|GB|GiB)?\Z")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z|(?=.*:)[0-9A-Fa-f:.]+\Z")
_PATH = re.compile(r"/[!-\"$-~]*\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t -~\x80-\xff]*\Z")
_OURS = frozenset(("connection", "content-length", "host", "transfer-encoding", "upgrade"))
"""Headers that frame a request; a second one of them would break it."""
_PEM = b"-----BEGIN CERTIFICATE-----"
_BYTES = {
    None: 1,
    "B": 1,
    "KB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
}


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    """How one YAML scalar becomes a value: ``parse`` raises ValueError saying what is wrong.

    ``expects`` ends the sentence "expected ..."; ``pattern`` is the editor's regular expression.
    """

    parse: Callable[[Any], Any]
    expects: str
    pattern: str
    secret: bool = False
    """The whole text comes from the environment."""
    hidden: str = ""
    """A regular expression, for a URL: its group ``hidden``, a password, comes from there."""


class SettingError(ValueError):
    """Raised by the ``__post_init__`` of settings for what is wrong at one of their keys, such as
    ``("models", "a", "memory")``; any other ValueError is said of the settings as a whole."""

    def __init__(self, keys: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.keys = keys


@runtime_checkable
class HasExclusiveKeys(Protocol):
    """Settings of which some are not said together."""

    @classmethod
    def misfits(cls, given: Collection[str]) -> Sequence[SettingError]:
        """What is wrong with the keys that a policy gives, whatever their values."""
        ...


@runtime_checkable
class NeedsFiles(Protocol):
    """Settings that name what must be on this machine before their backend can start."""

    def missing(self) -> Sequence[SettingError]:
        """What is not there, or is of no use. Reads files; runs no code of theirs."""
        ...


class UnfitSecret(ValueError):
    """Says what is wrong with a secret, and nothing of what it holds."""


class Secret:
    """A string that never shows in a repr, a log line or an error. ``reveal()`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


_CENTURY_S = 100 * 365.25 * 86_400.0


def parse_duration(value: Any) -> float:
    """'250ms', '5s', '15m', '4h', '2d' or a bare number of seconds -> seconds."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a duration")
    match = _DURATION.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration")
    seconds = float(match["number"]) * _SECONDS[match["unit"]]
    if seconds > _CENTURY_S:  # past it a date may have no year, and a number no integer
        raise ValueError(f"{value!r} is longer than a century")
    return seconds


def parse_size(value: Any) -> int:
    """'10 MB', '64KiB' or a bare number of bytes -> bytes."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a size")
    match = _SIZE.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size")
    return int(float(match["number"]) * _BYTES[match["unit"]])


def parse_secret(value: Any) -> Secret:
    """White space around it, such as the line break at a file's end, is no part of a secret.

    Raises UnfitSecret for one that is empty, or that no header can carry.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise UnfitSecret("a secret is a string that is not empty")
    if _VALUE.match(text) is None:
        raise UnfitSecret("a secret holds no line break, no control character and no symbol")
    return Secret(text)


def parse_url(value: Any) -> str:
    """'http://127.0.0.1:8000/v1' -> the same. Raises ValueError, which repeats none of it: it may
    hold a password."""
    text = str(value)
    parts = _split(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("a URL begins with http:// or https://")
    if _HOST.match(parts.hostname or "") is None:
        raise ValueError("it names no host")
    if parts.username is not None or "?" in text or "#" in text:
        raise ValueError("it may hold only scheme, host, port and path")
    if _PATH.match(parts.path or "/") is None:
        raise ValueError("a URL holds no blanks, control characters or letters with accents")
    return text


def _split(text: str) -> SplitResult:
    if not text.isprintable():  # urlsplit would take line breaks out
        raise ValueError("a URL holds no control character")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("it names no host") from None
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("its port is no number from 1 to 65535")
    return parts


def check_webhook(url: str, schemes: Collection[str] = ("http", "https")) -> None:
    """Raises SettingError, which repeats none of it, for a URL that a platform could send nothing
    to; unlike a server's it may hold a query."""
    try:
        parts = _split(url)
        if parts.scheme not in schemes or _HOST.match(parts.hostname or "") is None:
            raise ValueError("it has no scheme or no host")
    except ValueError as error:
        kinds = " or ".join(f"{scheme}://" for scheme in schemes)
        raise SettingError(("webhook",), f"is a URL that begins with {kinds}: {error}") from None


def parse_path(value: Any) -> str:
    """'/generate' -> the same, as it stands in a request's first line."""
    text = str(value)
    if not text.startswith("/"):
        raise ValueError("a path begins with /")
    if _PATH.match(text) is None:
        raise ValueError("a path holds no blanks, control characters, # or letters with accents")
    return text


def parse_header_name(value: Any) -> str:
    """RFC 9110, 5.6.2: a token."""
    text = str(value)
    if _TOKEN.match(text) is None:
        raise ValueError("a header's name is of letters, digits and - alone")
    if text.lower() in _OURS:
        raise ValueError(f"{text} is the gateway's own to say")
    return text


def parse_header_value(value: Any) -> str:
    """White space around it is no part of it (RFC 9110, 5.5)."""
    text = str(value).strip(" \t")
    if _VALUE.match(text) is None:
        raise ValueError("a header's value holds a line break or a character that it cannot carry")
    return text


Duration = Annotated[
    float,
    Scalar(
        parse=parse_duration,
        expects="a duration such as 250ms, 5s, 15m, 4h or 2d",
        pattern=r"^\d+(\.\d+)?\s*(ms|s|m|h|d)?$",
    ),
]
"""Seconds."""

ByteSize = Annotated[
    int,
    Scalar(
        parse=parse_size,
        expects="a size such as 512KiB or 10 MB",
        pattern=r"^\d+(\.\d+)?\s*(B|KB|KiB|MB|MiB|GB|GiB)?$",
    ),
]
"""Bytes."""

SecretStr = Annotated[
    Secret,
    Scalar(
        parse=parse_secret,
        expects="a secret taken from the environment, such as ${RUNPOD_API_KEY}",
        pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$",
        secret=True,
    ),
]
"""A ``Secret``; in YAML it may only be written as ``${NAME}``."""


HttpUrl = Annotated[
    str,
    Scalar(
        parse=parse_url,
        expects="a URL such as http://127.0.0.1:8000/v1",
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+(/[^\s?#]*)?$",
    ),
]
"""Where a server is: scheme, host, port and path."""

ProxyUrl = Annotated[
    str,
    Scalar(
        parse=parse_proxy,
        expects="a proxy such as http://10.0.0.1:3128, or off",
        pattern=r"^([Oo][Ff][Ff]|[Hh][Tt][Tt][Pp]://[^\s/?#@]+/?)$",
    ),
]
"""Where a proxy is, or that there is none."""

UrlPath = Annotated[
    str, Scalar(parse=parse_path, expects="a path such as /generate", pattern=r"^/[^\s#]*$")
]
"""Of a request; may hold a query."""

HeaderName = Annotated[
    str,
    Scalar(
        parse=parse_header_name,
        expects="the name of a header such as X-Api-Version",
        pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    ),
]
HeaderValue = Annotated[
    str,
    Scalar(
        parse=parse_header_value,
        expects="the value of a header, on one line",
        pattern=r"^[^\r\n]*$",
    ),
]
Headers = dict[HeaderName, HeaderValue]
"""Name -> value, of a request."""

Count = Annotated[int, msgspec.Meta(ge=1)]
"""A number of things, of which there is at least one."""

PositiveDuration = Annotated[Duration, msgspec.Meta(gt=0)]
"""Seconds, more than none."""

PositiveSize = Annotated[ByteSize, msgspec.Meta(gt=0)]
"""Bytes, at least one."""


def unfit_ca_file(path: str | None) -> list[SettingError]:
    """What is wrong with the ``ca_file`` of a backend's settings."""
    if path is None:
        return []
    try:
        text = read_regular(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return [SettingError(("ca_file",), f"{path} cannot be read: {why}")]
    return [] if _PEM in text else [SettingError(("ca_file",), f"{path} holds no PEM certificate")]


def unfit_certificate(settings: ConnectionSettings) -> list[SettingError]:
    """What is wrong with the ``client_cert`` and ``client_key`` of a backend's settings."""
    found = certificate_of(settings.client_cert, settings.client_key)
    if found is None:
        alone = settings.client_key is not None
        return [SettingError(("client_key",), "it goes with a client_cert")] if alone else []
    try:
        check_certificate(found)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return [SettingError(("client_cert",), f"{found.cert} with {found.key}: {why}")]
    return []


class ConnectionSettings(Protocol):
    """The settings that say how connections are made and kept; see ``HttpSettings``."""

    @property
    def max_connections(self) -> int: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def keep_alive(self) -> float: ...
    @property
    def stall_timeout(self) -> float: ...
    @property
    def max_response(self) -> int: ...
    @property
    def max_event(self) -> int: ...
    @property
    def ca_file(self) -> str | None: ...
    @property
    def client_cert(self) -> str | None: ...
    @property
    def client_key(self) -> str | None: ...
    @property
    def proxy(self) -> str | None: ...
    @property
    def proxy_auth(self) -> Secret | None: ...


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every backend behind one HTTP address may be told of its connections."""

    base_url: HttpUrl
    """Where the server is."""
    headers: Headers = {}
    """Sent with every call."""
    connect_timeout: PositiveDuration = 5.0
    """The longest that a connection may take to be made."""
    timeout: PositiveDuration = 600.0
    """The longest that one call may take, whatever the caller would wait."""
    stall_timeout: PositiveDuration = 120.0
    """The longest silence inside an answer whose body has begun."""
    keep_alive: Duration = 4.0
    """How long an unused connection is kept; shorter than the server's own time (uvicorn: 5s)."""
    max_connections: Count = 256
    """Calls in flight."""
    max_response: PositiveSize = 64 * 1024 * 1024
    """A larger answer is an error."""
    max_event: PositiveSize = 16 * 1024 * 1024
    """A larger event of a stream is an error."""
    ca_file: str | None = None
    """PEM file of the authority that signed the server's certificate; left out: the system's."""
    client_cert: str | None = None
    """PEM file of the certificate that the server is shown, with its chain."""
    client_key: str | None = None
    """PEM file of its key; left out: it is in the same file."""
    proxy: ProxyUrl | None = None
    """http://HOST:PORT of a proxy to the server; off: none; left out: HTTPS_PROXY's of the
    environment, where the server has TLS and NO_PROXY does not name it."""
    proxy_auth: SecretStr | None = None
    """USER:PASSWORD for that proxy."""

    def missing(self) -> list[SettingError]:
        return [*unfit_ca_file(self.ca_file), *unfit_certificate(self)]
