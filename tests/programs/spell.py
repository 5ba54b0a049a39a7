"""A stepper that spells words, a letter a step, for many at once; and what it has seen."""

from __future__ import annotations

import time
from typing import Any

from local_runtime import InvalidInput, Request, Runtime, Step

app = Runtime("spell")


@app.init
def init() -> dict[str, Any]:
    return {"mark": "!"}


class Word:
    """One text on its way."""

    def __init__(self, text: str, pause_s: float) -> None:
        self.text = text
        self.pause_s = pause_s
        self.at = 0


SAMPLE = {"text": "ab"}


@app.stepper("/", max_size=4, retry=True, timeout=30, warmup=SAMPLE)
@app.stepper("/hasty", max_size=4, retry=True, timeout=0.3)
class Speller:
    """Says a letter of every word in each step; ``@`` cannot be said, and ``#`` breaks the step of
    all. ``pause`` makes each step last so many seconds."""

    seen: dict[str, int]

    def __init__(self, context: dict[str, Any]) -> None:
        self.mark: str = context["mark"]
        self.seen = context.setdefault("seen", {"admitted": 0, "evicted": 0, "steps": 0})

    def admit(self, request: Request) -> Word:
        text = request.json.get("text")
        if not text:
            raise InvalidInput("text must not be empty", param="text")
        self.seen["admitted"] += 1
        return Word(text, request.json.get("pause", 0.0))

    def step(self, states: list[Word]) -> list[Step | Exception | None]:
        self.seen["steps"] += 1
        time.sleep(max(word.pause_s for word in states))
        if any(word.text[word.at] == "#" for word in states):
            raise MemoryError("no room")
        return [self._say(word) for word in states]

    def evict(self, state: Word) -> None:
        self.seen["evicted"] += 1

    def _say(self, word: Word) -> Step | Exception:
        letter = word.text[word.at]
        if letter == "@":
            return ValueError("unspeakable")
        word.at += 1
        done = word.at == len(word.text)
        return Step(
            items=[letter],
            done=done,
            result={"text": word.text + self.mark} if done else None,
            prompt_tokens=1,
            completion_tokens=word.at,
        )


@app.handler("/v1/embeddings")
def seen(context: dict[str, Any], request: Request) -> Any:
    return context["seen"]
