"""The scalars of the policy: money, hours, comparisons, addresses, dates and instants."""

from __future__ import annotations

import datetime
import ipaddress
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec

from adapters.buckets.urls import KeyedBucket
from adapters.settings import Scalar
from gateway.store_urls import (
    Address,
    Database,
    LedgerFile,
    ServerGroup,
    SslMode,
    parse_keys,
    parse_ledger,
    parse_shared,
)
from gateway.types import NANO
from gateway.windows import check_zone

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CONDITION = re.compile(r"(?P<op><=|>=|==|<|>)\s*(?P<number>\d{1,20}(?:\.\d{1,9})?)\Z")
_HOURS = re.compile(
    r"(?:(?P<first>[A-Za-z]{3})(?:-(?P<last>[A-Za-z]{3}))?\s+)?"
    r"(?P<start>\d{1,2}:\d{2})-(?P<end>\d{1,2}:\d{2})(?:\s+(?P<zone>[A-Za-z][A-Za-z0-9_+/-]*))?\Z"
)
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})\Z")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}\Z")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MOST = 2**63 - 1
"""The stores count in 64 bits."""


def parse_files(value: Any) -> Path | KeyedBucket:
    """A folder, or an S3-compatible bucket with its key. Raises ValueError, which repeats nothing
    of a URL."""
    text = str(value).strip()
    if text.startswith("s3:"):
        return KeyedBucket.from_url(text, where="store.files")
    if not text or "://" in text or "\0" in text:
        raise ValueError("not a folder such as .spillgate/files, and no s3:// URL")
    return Path(text)


class Refers(msgspec.Struct, frozen=True):
    """In ``Annotated[str, Refers("prices")]``: the string is a key of that section."""

    section: str


class OneOrMany(msgspec.Struct, frozen=True):
    """In ``Annotated[tuple[X, ...], OneOrMany(scalar)]``: one such scalar, or a list of them."""

    item: Scalar | None = None
    """None: what the tuple holds says itself how it is written."""


class WeeklyHours(msgspec.Struct, frozen=True, kw_only=True):
    """Days of the week (0 = Monday) and minutes of the day; ``end`` may pass midnight (> 1440)."""

    days: frozenset[int]
    start: int
    end: int
    zone: str = "UTC"


def parse_nano_usd(value: Any) -> int:
    """A number of dollars -> nano-dollars, exactly. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not an amount of money")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not an amount of money") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{value!r} is not an amount of money")
    return whole_units(amount, NANO, value)


def whole_units(amount: Decimal, scale: int, value: Any) -> int:
    """``amount * scale`` exactly, in at most 64 bits."""
    if amount > _MOST // scale:
        raise ValueError(f"{value!r} is too large")
    scaled = amount * scale
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{value!r} is not a whole number of the units counted (1/{scale})")
    return int(scaled)


def parse_condition(value: Any) -> tuple[str, float]:
    """'< 1000' -> ('<', 1000.0). Raises ValueError."""
    match = _CONDITION.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a comparison")
    return match["op"], float(match["number"])


def parse_hours(value: Any) -> WeeklyHours:
    """'Mon-Fri 08:00-20:00 Europe/Berlin' -> WeeklyHours. Raises ValueError."""
    match = _HOURS.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a span of hours")
    start, end = _minute(match["start"]), _minute(match["end"])
    zone = match["zone"] or "UTC"
    check_zone(zone)
    return WeeklyHours(
        days=_days(match["first"], match["last"]),
        start=start,
        end=end if end > start else end + 1440,
        zone=zone,
    )


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    names = [name.lower() for name in (first, last or first)]
    for name in names:
        if name not in _DAYS:
            raise ValueError(f"{name!r} is not a day; the days are {', '.join(_DAYS)}")
    begin, end = (_DAYS.index(name) for name in names)
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _minute(text: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 24 or minute > 59 or hour * 60 + minute > 1440:
        raise ValueError(f"{text!r} is not a time of day")
    return hour * 60 + minute


def parse_listen(value: Any) -> tuple[str, int]:
    """'127.0.0.1:8443' or '[::1]:8443' -> (host, port). Raises ValueError."""
    host, _, port = str(value).strip().rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        raise ValueError(f"{value!r} is not host:port")
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not _is_address(name) and (_HOST.match(name) is None or name.split(".")[-1].isdigit()):
        raise ValueError(f"{host!r} is no address and no name of a host")
    return name, int(port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def parse_date(value: Any) -> str:
    """'2026-11-09' -> the same, checked against the calendar. Raises ValueError."""
    text = str(value).strip()
    if _DATE.match(text) is None:
        raise ValueError(f"{text!r} is not a date")
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text!r} is not in the calendar") from None


def parse_instant(value: Any) -> int:
    """A day, or a day and a time with a zone -> seconds since the epoch. Raises ValueError."""
    text = str(value).strip()
    moment = datetime.datetime.fromisoformat(text)
    if len(text) == len("2026-11-01"):
        moment = moment.replace(tzinfo=datetime.UTC)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone: write {text}Z for UTC")
    if moment.microsecond:
        raise ValueError(f"{text} is finer than a second")
    return round((moment - _EPOCH).total_seconds())


def parse_name(value: Any) -> str:
    """What a backend, model, price, plan or route is called. Raises ValueError."""
    text = str(value)
    if _NAME.match(text) is None:
        raise ValueError(f"{text[:80]!r} is not a name")
    return text


Name = Annotated[
    str,
    Scalar(
        parse=parse_name,
        expects="1 to 128 letters, digits and . _ / : -, beginning with a letter or a digit",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}$",
    ),
]
BackendName = Annotated[str, Refers("backends")]
ModelName = Annotated[str, Refers("models")]
PriceName = Annotated[str, Refers("prices")]
NanoUsd = Annotated[
    int,
    Scalar(
        parse=parse_nano_usd,
        expects="an amount in US dollars such as 0.00116",
        pattern=r"^\d+(\.\d+)?([eE]-?\d+)?$",
    ),
]
"""Nano-dollars; dollars in YAML."""
Condition = Annotated[
    tuple[str, float],
    Scalar(
        parse=parse_condition,
        expects='a comparison such as "< 1000"',
        pattern=r"^(<|<=|>|>=|==)\s*\d+(\.\d+)?$",
    ),
]
Hours = Annotated[
    WeeklyHours,
    Scalar(
        parse=parse_hours,
        expects='hours such as "Mon-Fri 08:00-20:00" or "Mon-Fri 08:00-20:00 Europe/Berlin"',
        pattern=r"^([A-Za-z]{3}(-[A-Za-z]{3})?\s+)?\d{1,2}:\d{2}-\d{1,2}:\d{2}(\s+\S+)?$",
    ),
]
ListenAddress = Annotated[
    tuple[str, int],
    Scalar(parse=parse_listen, expects="host:port such as 127.0.0.1:8443", pattern=r"^.+:\d+$"),
]
_HIDDEN = r"^[^:/]*://[^:/?#]*:(?P<hidden>.+)@"
"""Where a URL has its password."""
_SERVER = r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#$,]*)(:\d{1,5})?"
_OPTION = (
    rf"(sslmode=({'|'.join(get_args(SslMode))})|sslrootcert=[^&#$]*|host=/[^&#$]*"
    r"|schema=[a-z_][a-z0-9_]*)"
)
_POSTGRESQL = (
    r"postgres(ql)?://[^:@/?#$]+(:\$\{[A-Za-z_][A-Za-z0-9_]*\})?@"
    rf"{_SERVER}(,{_SERVER})*/[^/?#$]+(\?{_OPTION}(&{_OPTION})*)?"
)
LedgerUrl = Annotated[
    LedgerFile | Database,
    Scalar(
        parse=parse_ledger,
        expects="sqlite:///.spillgate/ledger.db or postgresql://USER:${PGPASSWORD}@HOST/DATABASE",
        pattern=rf"^(sqlite:///[^?]+(\?synchronous=(normal|full))?|{_POSTGRESQL})$",
        hidden=_HIDDEN,
    ),
]
KeysUrl = Annotated[
    LedgerFile | Database | None,
    Scalar(
        parse=parse_keys,
        expects="sqlite:///.spillgate/keys.db or postgresql://USER:${PGPASSWORD}@HOST/DATABASE",
        pattern=rf"^(sqlite:///[^?]+|{_POSTGRESQL})$",
        hidden=_HIDDEN,
    ),
]
"""None: beside the ledger."""
_ENTRY = r"([^:@/?#$]*(:\$\{[A-Za-z_][A-Za-z0-9_]*\})?@)?"
_CA_FILE = r"ca_file=[^&#$]+"
SharedUrl = Annotated[
    Address | ServerGroup | None,
    Scalar(
        parse=parse_shared,
        expects="memory:// or a URL such as redis://:${REDIS_PASSWORD}@127.0.0.1:6379/0",
        pattern=(
            rf"^(?!redis[:+].*ca_file=)(memory:(//)?|unix:///[^?#$]+(\?db=\d{{1,4}})?"
            rf"|rediss?://{_ENTRY}{_SERVER}(/\d{{0,4}})?(\?{_CA_FILE})?"
            rf"|rediss?\+cluster://{_ENTRY}{_SERVER}(,{_SERVER})*(/0?)?(\?{_CA_FILE})?"
            rf"|rediss?\+sentinel://{_ENTRY}{_SERVER}(,{_SERVER})*/[^/?#$]+(/\d{{0,4}})?"
            rf"(\?({_CA_FILE}|sentinel_auth=same)(&({_CA_FILE}|sentinel_auth=same))?)?)$"
        ),
        hidden=_HIDDEN,
    ),
]
"""None: the memory of this process."""
FilesPlace = Annotated[
    Path | KeyedBucket | None,
    Scalar(
        parse=parse_files,
        expects="a folder, or s3://KEY_ID:${SECRET}@BUCKET/PREFIX?endpoint=https://HOST",
        pattern=r"^(?!s3:)[^:?#]+$|^s3://[^:@/?#$]+:\$\{[A-Za-z_][A-Za-z0-9_]*\}@[^:@/?#$]+"
        r"(/[^?#$]*)?\?endpoint=https?://[^/?#&$]+(&region=[^&#$]+)?$",
        hidden=_HIDDEN,
    ),
]
"""None: in server.data."""
DateStr = Annotated[
    str,
    Scalar(parse=parse_date, expects="a date such as 2026-11-09", pattern=r"^\d{4}-\d{2}-\d{2}$"),
]
Instant = Annotated[
    int,
    Scalar(
        parse=parse_instant,
        expects="a day such as 2026-11-01 (UTC), or an instant such as 2026-11-01T08:00Z",
        pattern=r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$",
    ),
]
