"""Whether JSON that should be an answer, or an event of one, says that something failed. Pure.

By rules and not by a list of shapes: what is *named* a failure and is not hollow is one, in
whatever words a server names it: a field such as ``error``, ``errors``, ``exception``, ``detail``;
a type, a status or the name of an event such as ``error``, ``failed``, ``response.failed``; a code
or a status that is no success; ``success: false``. Hollow is what says nothing, or that nothing
failed: ``null``, ``""``, ``{}``, ``false``, ``"None"``, ``{"code": 0, "message": "success"}``.

Beside the parts of an answer only ``error`` counts: there a model's words and a server's own fields
may be called anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_REFUSED = 400
_GOOD = range(200, 300)
_NOTHING = re.compile(
    r"\W*(|none|null|nil|undefined|nan|n/?a|false|no|0+|ok(ay)?|2\d\d|no[ _]?errors?|"
    r"((request|operation|call)[ _])?(was[ _])?(completed[ _])?(success(ful(ly)?)?|succeeded|"
    r"completed|done))\W*",
    re.I,
)
"""Texts that say nothing, or that all went well."""
_FAILURE = re.compile(
    r"(^|[^a-z])(err|errors?|exceptions?|failed|failures?|fault|fatal|abort(ed)?|cancell?ed|denied"
    r"|rejected|unavailable|overloaded|time[_ -]?out|timed[_ -]?out)($|[^a-z])",
    re.I,
)
"""Types, statuses and names of events, whole words of which say that something failed."""
_FIELD = re.compile(
    r"(.*[^a-z])?(errors?|exceptions?|fault|failures?|traceback)([_-]?(message|msg|text|details?|"
    r"type|code|info|description|reason|object))?|detail|errmsg|errcode",
    re.I,
)
"""Fields that hold what failed; ``camelCase`` is read as ``camel_case``."""
_WORDS = (
    "code", "status", "type", "message", "msg", "reason", "detail", "description", "error",
    "errors",
)  # fmt: skip
"""Where an error has its words: beside one of these an id or a time says nothing."""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_STATUSES = ("status", "state", "statusCode", "status_code", "code")
_CODE = re.compile(r"[\w.:/-]{1,64}")
"""No text of a program."""
_VERDICTS = ("success", "succeeded", "ok")


def is_hollow(value: Any) -> bool:
    """Whether an ``error`` says nothing, or that there was none."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [one[name] for name in _WORDS if name in one] or one.values()
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str):
            if _NOTHING.fullmatch(one) is None:
                return False
        elif one and not (isinstance(one, int) and one in _GOOD):
            return False
    return True


def is_failure_name(name: str | bytes) -> bool:
    """Whether an event of this name, or JSON of this type or status, tells of a failure."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return _FAILURE.search(_HUMP.sub("_", text)) is not None


def complains(said: Any) -> bool:
    """Whether a decoded answer that holds no part of one, or an event that holds no piece of one,
    says that something failed."""
    if isinstance(said, str):
        return not is_hollow(said)
    if isinstance(said, list):
        return any(complains(one) for one in said if isinstance(one, dict))
    return isinstance(said, dict) and any(_complaints(said))


def _complaints(said: dict[str, Any]) -> Iterator[bool]:
    kinds = (said.get(name) for name in ("type", "object", "event"))
    yield any(isinstance(kind, str) and is_failure_name(kind) for kind in kinds)
    yield any(_is_bad_status(name, said.get(name)) for name in _STATUSES)
    yield any(name in said and _is_no(said[name]) for name in _VERDICTS)
    yield any(is_failure_field(name) and not is_hollow(said[name]) for name in said)


def is_failure_field(name: str) -> bool:
    """Whether a field of this name holds what failed."""
    return _FIELD.fullmatch(_HUMP.sub("_", name)) is not None


def _is_bad_status(name: str, value: Any) -> bool:
    """Of a code every value is bad that is not a good one: servers of some number their errors from
    one, or name them."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return False
    text = str(value).strip()
    if name == "code":
        return _CODE.fullmatch(text) is not None and not is_hollow(value)
    if text.isdecimal() and text.isascii():
        return len(text) == 3 and int(text) >= _REFUSED
    return is_failure_name(text)


def _is_no(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.strip().lower() == "false")
