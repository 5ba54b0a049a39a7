"""Calls of tools out of the pieces of a chat stream, whole ones out of an answer. Pure.

A piece says by ``index`` which call it is of (https://platform.openai.com/docs/api-reference/chat/
streaming). Engines differ: some give several calls one index, or none, and tell them apart by their
ids alone; some say the name after the id, or again with each piece; some write the arguments as an
object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec


class ToolPiece(NamedTuple):
    """More of one call."""

    number: int
    """Of the call, in the order in which they began."""
    begins: bool
    id: str
    """Empty where nobody gave it one; so is the name."""
    name: str
    arguments: str


class _Begun:
    __slots__ = ("arguments", "id", "name", "told")

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []
        """That came before the name."""
        self.told = False


class ToolPieces:
    """The calls of one stream."""

    def __init__(self) -> None:
        self._calls: list[_Begun] = []
        self._at: dict[int, int] = {}
        """What a piece calls its index -> the number of the last call that had it."""

    def __bool__(self) -> bool:
        return bool(self._calls)

    def read(self, pieces: Any) -> Iterator[ToolPiece]:
        """Those of one event. What is no piece at all is left out."""
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                yield from self._read(piece)

    def unnamed(self) -> Iterator[ToolPiece]:
        """At the end of the stream: calls that never were given a name."""
        for number, call in enumerate(self._calls):
            if not call.told:
                yield self._tell(number, call)

    def _read(self, piece: dict[str, Any]) -> Iterator[ToolPiece]:
        function = _function_of(piece)
        id, name = _text(piece.get("id")), _text(function.get("name"))
        arguments = arguments_of(function.get("arguments"))
        number = self._number(piece.get("index"), id, name)
        call = self._calls[number]
        call.id, call.name = call.id or id, call.name or name
        if call.told:
            if arguments:
                yield ToolPiece(number, False, call.id, call.name, arguments)
            return
        call.arguments.append(arguments)
        if call.name:
            yield self._tell(number, call)

    def _number(self, index: Any, id: str, name: str) -> int:
        last = len(self._calls) - 1
        if not isinstance(index, int):
            index = self._index_of(id, name)
        number = self._at.get(index, -1)
        if number >= 0:
            known = self._calls[number]
            is_another = bool(id and known.id and id != known.id and name)
            if not is_another:
                return number
        self._calls.append(_Begun())
        self._at[index] = last + 1
        return last + 1

    def _index_of(self, id: str, name: str) -> int:
        """Of a piece that says none: that of the call with its id, else of the last one; one that
        begins a call has a name, and an id that no other has."""
        for index, number in self._at.items():
            if id and self._calls[number].id == id:
                return index
        last = max(self._at, default=0)
        return last + 1 if name and self._at else last

    @staticmethod
    def _tell(number: int, call: _Begun) -> ToolPiece:
        call.told = True
        return ToolPiece(number, True, call.id, call.name, "".join(call.arguments))


def whole_calls(calls: Any) -> Iterator[ToolPiece]:
    """Those of a whole answer's message."""
    found = calls if isinstance(calls, list) else ()
    for number, call in enumerate(one for one in found if isinstance(one, dict)):
        function = _function_of(call)
        arguments = arguments_of(function.get("arguments"))
        yield ToolPiece(number, True, _text(call.get("id")), _text(function.get("name")), arguments)


def arguments_of(value: Any) -> str:
    """The JSON of a call's arguments, which a chat has as a text."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _function_of(called: dict[str, Any]) -> dict[str, Any]:
    function = called.get("function")
    return function if isinstance(function, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
