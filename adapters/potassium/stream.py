"""A handler's streamed bytes: text as it comes, or the runtime's own server-sent events."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from adapters.errors import BackendError
from adapters.http.failures import classify_error
from adapters.http.passthrough import Passthrough
from adapters.shapes.complaints import is_failure_name
from adapters.shapes.error_words import error_object, words_in
from adapters.shapes.json_texts import read_if, value_of
from adapters.types import Chunk
from adapters.whole_events import data_of, name_of, split_events

_TELLING = re.compile(rb'\[DONE\]|"error"|event:')


class RuntimeEvents(Passthrough):
    """This project's runtime ends a good stream with ``[DONE]`` and a bad one with an error
    object, or an event that is named one; neither is for the caller."""

    _given = False
    """An event has been passed on, which was no end marker and no error."""

    def _feed(self, events: bytes) -> None:
        for chunk in self._reader.feed(events):
            if _TELLING.search(chunk.data):
                self._each(chunk)
            else:
                self._give(chunk)

    def _give(self, chunk: Chunk) -> None:
        self._given = True
        self._ready.append(chunk)

    def _each(self, chunk: Chunk) -> None:
        for event in split_events(chunk.data):
            payload = data_of(event).strip()
            if payload == b"[DONE]":
                continue
            error = _error_in(payload)
            if error is None and is_failure_name(name_of(event)):
                error = error_object(value_of(payload) or {})
            if error is not None:
                self._fail(error)
                return
            self._give(Chunk(event))

    def _fail(self, error: dict[str, Any]) -> None:
        """Behind the chunks that came before it. An error that is the first event can still be
        told as what it is."""
        self._reader.frames = self._given
        self._reader.error = BackendError(
            classify_error(error), words_in(error) or "The stream failed."
        )


class _OnlyError(msgspec.Struct, forbid_unknown_fields=True):
    error: dict[str, Any]


def _error_in(payload: bytes) -> dict[str, Any] | None:
    """Of an event that is an error object and nothing else."""
    found = read_if(payload, _OnlyError)
    return None if found is None else found.error
