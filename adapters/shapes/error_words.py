"""What a backend's error says, in any of the shapes that were met in the wild. Pure.

OpenAI's ``{"error": {"message", "type", "code"}}`` with a string or, from vLLM, an integer code;
``{"error": "text"}``; FastAPI's ``{"detail": "text"}`` and ``{"detail": [{"loc", "msg"}]}``;
problem JSON (RFC 9457) ``{"title", "detail"}``; older vLLM's flat ``{"object": "error", "message",
"code"}``; Google's list of one; plain text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.shapes.complaints import complains, is_failure_field
from adapters.shapes.json_texts import UNREADABLE, mended, value_in

MAX_WORD = 100
"""Characters of a code, a type or the name of a field that are kept."""
_CODES = ("code", "error_code", "errorCode", "errcode")
_TYPES = ("type", "error_type", "status", "__type")
_DEEPEST = 8
"""Objects in objects in which words are looked for."""
_MUTE = frozenset(("", "bad request", "badrequest", "400 bad request", "error"))
_MESSAGES = ("error", "errors", "message", "detail", "error_message", "title", "msg")


class ErrorWords(msgspec.Struct, frozen=True):
    """What a backend's error says, in any of the known shapes; what it does not say is None."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    reason: str | None = None
    """Google's, which is more exact than its code: ``API_KEY_INVALID``."""

    is_object: bool = False
    """It was said in JSON, by an API and not by a proxy before it."""

    @property
    def is_mute(self) -> bool:
        """It says no more than its status, or not as an API does."""
        said = self.message.strip(" .\n").lower() not in _MUTE or self.type or self.param
        return not (self.is_object and said)

    @property
    def status(self) -> int | None:
        """The status that stands in the place of a code."""
        code = self.code
        known = code is not None and len(code) == 3 and code.isascii() and code.isdigit()
        return int(code or "") if known and code is not None and code >= "300" else None


def words_of(body: bytes) -> ErrorWords:
    """What a refusal's body says."""
    try:
        value = value_in(mended(body))
    except UNREADABLE:
        return ErrorWords(message_of(body))
    return error_words(value)


def error_words(value: Any) -> ErrorWords:
    """The same of a decoded body, or of an error object out of one; of several, of the first."""
    outer = _only(value)
    found = _only(outer.get("error") or outer.get("errors")) if isinstance(outer, dict) else None
    inner = found if isinstance(found, dict) else outer
    message = words_in(value)
    if not isinstance(inner, dict):
        return ErrorWords(message)
    return ErrorWords(
        message,
        _first_word(inner, _CODES),
        _first_word(inner, _TYPES),
        _param(inner, outer),
        _reason(inner.get("details")),
        is_object=True,
    )


def error_object(said: Any) -> dict[str, Any]:
    """The error of an answer or an event, as one object with a message, a code and a type: OpenAI's
    object, a text with a type beside it (TGI), the flat object of older vLLM, or the first of
    several; a code may stand beside any."""
    if isinstance(said, str):
        return {"message": said}
    if isinstance(said, list):
        return error_object(next((one for one in said if complains(one)), {}))
    if not isinstance(said, dict):
        return {}
    error, code = said.get("error") or _first(said.get("errors")), said.get("code")
    if isinstance(error, dict) and error:
        return {"code": code, **error}
    if isinstance(error, str):
        return {"message": error, "type": said.get("error_type"), "code": code}
    status = said.get("status")
    return {"code": status, **said} if isinstance(status, int) else said


def _only(value: Any) -> Any:
    """The first of several, as Google answers with a list of one."""
    return value[0] if isinstance(value, list) and value else value


def _first_word(value: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((word for name in names if (word := _word(value.get(name)))), None)


def _reason(details: Any) -> str | None:
    """Source: https://cloud.google.com/apis/design/errors, ``ErrorInfo``."""
    for one in details if isinstance(details, list) else ():
        if isinstance(one, dict) and (reason := _word(one.get("reason"))):
            return reason
    return None


def _word(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)[:MAX_WORD]


def _param(inner: dict[str, Any], outer: Any) -> str | None:
    """The field at fault: OpenAI's ``param``, or the place in FastAPI's list."""
    if isinstance(named := inner.get("param"), str):
        return named[:MAX_WORD]
    first = _first(outer.get("detail")) if isinstance(outer, dict) else None
    place = first.get("loc") if isinstance(first, dict) else None
    if not isinstance(place, list):
        return None
    return ".".join(str(part) for part in place if part != "body")[:MAX_WORD] or None


def _first(several: Any) -> Any:
    return several[0] if isinstance(several, list) and several else None


def message_of(body: bytes) -> str:
    """A backend's own words for what went wrong, from any of the known shapes; may be empty."""
    try:
        value = value_in(body)
    except UNREADABLE:
        text = body[:4096].decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    return words_in(value)


def words_in(value: Any, depth: int = 0) -> str:
    """The first words for people in a decoded error of any of the known shapes; may be empty."""
    if isinstance(value, str):
        return value
    if depth > _DEEPEST:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_validation(item, depth + 1) for item in value[:3])))
    if isinstance(value, dict):
        known = [name for name in _MESSAGES if name in value]
        others = [name for name in value if name not in _MESSAGES and is_failure_field(name)]
        found = (words_in(value[name], depth + 1) for name in (*known, *others))
        return next(filter(None, found), "")
    return ""


def _validation(item: Any, depth: int) -> str:
    """One entry of FastAPI's list of validation errors."""
    if not isinstance(item, dict) or "msg" not in item:
        return words_in(item, depth)
    place = ".".join(str(part) for part in item.get("loc", ()) if part != "body")
    return f"{place}: {item['msg']}" if place else str(item["msg"])
