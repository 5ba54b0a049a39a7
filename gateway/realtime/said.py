"""What the caller of a conversation has said that no response has read yet, in the most tokens that
it may be. Pure."""

from __future__ import annotations

from adapters.realtime.caller_events import APPEND, CallerEvent

_SOUND_BYTES = 1000
"""Of base64, in which no server hears more than a token: telephones' sound of 8 kHz has 1,067."""


class Said:
    """Sound is no part of the conversation before it is committed: by its caller, or, at the end of
    a speech, by the server."""

    def __init__(self) -> None:
        self.all = 0
        """Tokens, but for sound that is not committed."""
        self.heard_speech = 0
        """What it was when the server last heard that somebody speaks."""
        self.has_sound = False
        """The server may respond by itself."""
        self._read = 0
        self._uncommitted = 0
        self._commits = 0
        """By its caller, of which the server has not said that they are done."""

    def add(self, event: CallerEvent) -> None:
        """Its caller says this."""
        tokens = event.text + -(-event.sound // _SOUND_BYTES)
        if event.type == APPEND:
            self.has_sound = True
            self._uncommitted += tokens
            return
        self.all += tokens
        if event.type == "input_audio_buffer.commit":
            self._commits += 1
            self._commit()

    def heard(self, kind: str) -> None:
        """The server sent an event of this type."""
        if kind == "input_audio_buffer.speech_started":
            self.heard_speech = self.all
        elif kind == "input_audio_buffer.committed":
            if self._commits:
                self._commits -= 1
            else:
                self._commit()

    @property
    def unread(self) -> int:
        """What the next response may read beside what the last one did."""
        return self.all - self._read + self._uncommitted

    def take(self, until: int) -> None:
        """A response has read what was said until then."""
        self._read = max(self._read, until)

    def take_all(self) -> int:
        """Tokens of what no response had read; now it is counted elsewhere."""
        unread, self._read = self.all - self._read, self.all
        return unread

    def _commit(self) -> None:
        self.all += self._uncommitted
        self._uncommitted = 0
