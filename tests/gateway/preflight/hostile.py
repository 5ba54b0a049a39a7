"""Policies with one plausible mistake in them: a value of the wrong unit, kind or size at any key
that the schema knows, a key that it does not, or one given twice."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "config" / "spillgate.schema.json").read_text(encoding="utf-8")
)
Path_ = tuple[str | int, ...]


class Bare(msgspec.Struct, frozen=True):
    """Text that stands in the file as it is."""

    text: str


WORDS = (
    "", " ", "\t", "x", "none", "null", "off", "auto", "*", "ü", "a b", "a\nb", "x" * 300, "../x",
    "/nonexistent/x", "/dev/null", "/", ".", "~", "localhost", "127.0.0.1", "127.0.0.1:0",
    "0.0.0.0:8443", "host:99999", ":80", "[::1]:1", "http://", "http://127.0.0.1:1",
    "https://exa mple/", "localhost:8000/v1", "ftp://x/y", "5", "0", "-1", "0s", "-1s", "1ms",
    "1e309s", "99999999999d", "5 parsecs", "5 minutes", "10", "10 USD", "-5 USD/month",
    "0 USD/day", "1e30 USD/month", "0/minute", "5/fortnight", "1/minute", "10 MB", "-1 MB", "0 B",
    "1e18 GB", "${UNSET}", "${", "$x", "nan", "inf", "08:00-20:00", "25:00-26:00",
    "Mon-Fry 08:00-20:00", "2026-02-30", "2026-11-01", "9999-12-31", "sqlite:///x.db",
    "sqlite://", "memory://", "redis://", "redis://:x@h:99999/a", "postgresql://", "< 1000",
    "> x", "learned", "< -1", "0.0.0.0", "::", "home", "chat", "default", "seconds",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 0.5, -0.0, 1e308, 1e-308, 2**31, 2**63, 10**30, 65_536, Bare(".nan"),
    Bare(".inf"), Bare("-.inf"), Bare("0x1F"), Bare("1_000"), Bare("1:30:00"), Bare("010"),
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    True, False, None, [], {}, [None], [[]], [{}], {"": 1}, {"x": None}, {"x": {"x": "x"}},
    ["home", "home"], ["home"], ["nobody"], [0], [""], Bare("2026-11-01"),
    Bare("2026-11-01T00:00:00Z"), Bare("!!binary aGk="), Bare("<<"), Bare("*nowhere"),
    Bare("&a [*a]"),
)  # fmt: skip
POOLS: tuple[tuple[Any, ...], ...] = (WORDS, NUMBERS, OTHERS)


def base(folder: str, upstream: str) -> dict[str, Any]:
    """A policy of many sections that is valid, below a folder and before a server."""
    dated = {"as_of": "2026-11-01", "source": "t"}
    return {
        "version": 1,
        "server": {
            "listen": "127.0.0.1:0", "tls": "off", "data": f"{folder}/data", "max_body": "8 MB",
            "drain": "1s", "metrics": {"listen": "127.0.0.1:0"},
            "clients": {}, "cors": {"origins": ["https://a.example"]}, "console": {},
        },
        "store": {
            "ledger": f"sqlite:///{folder}/ledger.db", "shared": "memory://", "timeout": "100ms",
        },
        "backends": {
            "home": {
                "kind": "openai", "base_url": upstream, "engine": "none", "price": "hours",
                "concurrency": 4, "expect": "1s",
            },
            "cloud": {
                "kind": "runpod", "endpoint": "abc", "api_key": "${KEY}", "base_url": upstream,
                "management_url": upstream, "price": "seconds", "idle_timeout": "5s",
                "cold_start": {"p50": "1s", "p95": "2s"},
            },
            "spare": {"kind": "http", "base_url": upstream, "openai": True, "price": "tokens"},
        },
        "models": {
            "chat": {"task": "chat", "backends": ["home", "cloud", "spare"], "slo": "10s"},
            "other": {"alias": "chat"},
        },
        "prices": {
            "hours": {"per_hour": 1, **dated},
            "seconds": {"per_second": 0.001, "bills": ["run"], **dated},
            "tokens": {"per_million_input": 1, "per_million_output": 1, **dated},
        },
        "routes": [
            {"name": "gold", "when": {"priority": "high"}, "use": ["home"], "order": "fastest"},
            {"name": "all", "use": ["home", "cloud", "spare"], "order": "listed", "max_price": 5},
        ],
        "warm_pool": {"cloud": {"hours": "Mon-Fri 08:00-20:00", "ping_every": "3s"}},
        "commitments": {},
        "plans": {"default": {"requests": "1000/minute", "concurrent": 10, "spend": "5 USD/month"}},
        "limits": {"concurrent": 100, "spend": "400 USD/day"},
        "keys": {}, "tags": {}, "jobs": {}, "webhooks": {},
    }  # fmt: skip


def spots(tree: Any, schema: dict[str, Any], at: Path_ = ()) -> Iterator[Path_]:
    """Where a value may stand: at every key of a tree, and at every one that the schema knows."""
    options = list(_options(schema))
    if isinstance(tree, dict):
        known = {
            name: one for option in options for name, one in option.get("properties", {}).items()
        }
        more = [option["additionalProperties"] for option in options if _maps(option)]
        for name in sorted({*tree, *known}):
            yield (*at, name)
            below = [known[name]] if name in known else more
            if name in tree and below:
                yield from spots(tree[name], {"anyOf": below}, (*at, name))
    elif isinstance(tree, list):
        below = [option["items"] for option in options if isinstance(option.get("items"), dict)]
        for number, item in enumerate(tree):
            yield (*at, number)
            if below:
                yield from spots(item, {"anyOf": below}, (*at, number))


def _maps(option: dict[str, Any]) -> bool:
    return isinstance(option.get("additionalProperties"), dict)


def _options(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a value may be, each without references."""
    if "$ref" in schema:
        yield from _options(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
        return
    yield schema
    for word in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(word, ()):
            yield from _options(one)
    for word in ("then", "else"):
        if word in schema:
            yield from _options(schema[word])


def mistaken(tree: dict[str, Any], draw: random.Random) -> tuple[str, str]:
    """A policy's text with one mistake, perhaps two, and what they are."""
    tree, done, twice = copy.deepcopy(tree), [], ""
    for _ in range(1 if draw.random() < 0.8 else 2):
        at = draw.choice(list(spots(tree, SCHEMA)))
        holder = _at(tree, at[:-1])
        kind = draw.random()
        if kind < 0.05 and isinstance(holder, dict):
            at = (*at[:-1], draw.choice(("", " ", "lisen", "Kind", "x-y", "ü", "a.b")))
        if kind > 0.97 and isinstance(at[-1], str):
            twice = at[-1]
        value = draw.choice(draw.choice(POOLS)) if kind < 0.9 else _elsewhere(tree, draw)
        if isinstance(holder, dict):
            holder[at[-1]] = value
        else:
            holder[at[-1]] = value
        done.append(f"{'.'.join(map(str, at))} = {value!r}")
    return written(tree, twice), "; ".join(done) + (f"; {twice} twice" if twice else "")


def _elsewhere(tree: Any, draw: random.Random) -> Any:
    """What stands at another key."""
    return copy.deepcopy(_at(tree, draw.choice(list(spots(tree, SCHEMA))), default="x"))


def _at(tree: Any, path: Path_, default: Any = None) -> Any:
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return default
    return tree


def written(tree: Any, twice: str = "") -> str:
    """A policy as text; ``twice``: a key that stands twice where it is first."""
    bare: list[str] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Bare):
            bare.append(value.text)
            return f"@@{len(bare) - 1}@@"
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, list) else value

    text = json.dumps(plain(tree), indent=1, ensure_ascii=False)
    for number, one in enumerate(bare):
        text = text.replace(f'"@@{number}@@"', one)
    return text.replace(f'"{twice}":', f'"{twice}": 1, "{twice}":', 1) if twice else text
