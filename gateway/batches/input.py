"""The input of a batch: one request a line, as OpenAI has them
(https://platform.openai.com/docs/api-reference/batch/request-input)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import msgspec

from gateway.batches.records import InputFault
from gateway.types import in_json_words

MOST_LINES = 100_000
_MOST_FAULTS = 50
"""That are told of one input."""
_LONGEST_ID = 512


class RawLine(msgspec.Struct, frozen=True):
    """A line as it stands; ``end`` is the byte behind it, ``number`` counts from 1."""

    number: int
    end: int
    text: bytes


class InputLine(msgspec.Struct, frozen=True, kw_only=True):
    """A request in a line."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class LineFault(ValueError):
    """What is wrong with a line; ``param`` is the field at fault."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


async def lines_of(
    pieces: AsyncIterator[bytes], longest: int, line: int = 0, byte: int = 0
) -> AsyncIterator[RawLine]:
    """The lines behind ``line``, which ends at ``byte``; empty ones count, and are left out. Raises
    LineFault for one that is longer than ``longest`` bytes, after which nothing can be read."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for text in whole:
            line, byte = line + 1, byte + len(text) + 1
            if text.strip():
                yield RawLine(line, byte, text)
        if len(rest) > longest:
            raise LineFault("line_too_long", f"The line {line + 1} is longer than {longest} bytes.")
    if rest.strip():
        yield RawLine(line + 1, byte + len(rest), rest)


_decode = msgspec.json.Decoder(InputLine).decode


def read_line(text: bytes, endpoint: str) -> InputLine:
    """Raises LineFault."""
    try:
        text.decode()  # the decoder leaves `body` unread
        read = _decode(text)
    except msgspec.ValidationError as error:
        raise LineFault("invalid_request", in_json_words(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LineFault("invalid_json_line", f"This line is no valid JSON: {error}.") from None
    if not 0 < len(read.custom_id) <= _LONGEST_ID:
        message = f"`custom_id` is 1 to {_LONGEST_ID} characters."
        raise LineFault("invalid_request", message, "custom_id")
    if "\0" in read.custom_id or not _is_text(read.custom_id):
        message = "`custom_id` has no NUL and no half of a surrogate pair."
        raise LineFault("invalid_request", message, "custom_id")
    if read.method != "POST":
        raise LineFault("invalid_method", "`method` is POST.", "method")
    if read.url != endpoint:
        message = f"`url` is {read.url[:80]!r}, and the batch is for {endpoint}."
        raise LineFault("mismatched_endpoint", message, "url")
    if not bytes(read.body).startswith(b"{"):
        raise LineFault("invalid_request", "`body` is an object.", "body")
    return read


def _is_text(read: str) -> bool:
    try:
        read.encode()
    except UnicodeEncodeError:
        return False
    return True


class InputCheck:
    """Looks at every line before the first is run: nothing is charged for an input that cannot be
    read as a whole."""

    def __init__(self, endpoint: str) -> None:
        self.total = 0
        self.faults: list[InputFault] = []
        self._endpoint = endpoint
        self._seen: dict[bytes, int] = {}

    @property
    def is_enough(self) -> bool:
        """Nobody needs to be told of more faults."""
        return len(self.faults) >= _MOST_FAULTS

    def look(self, line: RawLine) -> None:
        """At the next line."""
        self.total += 1
        try:
            if self.total > MOST_LINES:
                raise LineFault("too_many_lines", f"A batch has at most {MOST_LINES:,} lines.")
            read = read_line(line.text, self._endpoint)
            self._once(read.custom_id, line.number)
        except LineFault as fault:
            self.add(line.number, fault)

    def add(self, number: int, fault: LineFault) -> None:
        """Of a line, or of the whole at the line where that shows."""
        self.faults.append(
            InputFault(line=number, code=fault.code, message=str(fault), param=fault.param)
        )

    def _once(self, custom_id: str, number: int) -> None:
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        first = self._seen.setdefault(digest, number)
        if first != number:
            message = f"`custom_id` {custom_id[:80]!r} is that of line {first} already."
            raise LineFault("duplicate_custom_id", message, "custom_id")
