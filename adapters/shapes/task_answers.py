"""Whether JSON has the shape that an answer to its task must have. Pure.

Only what an answer cannot do without is asked for, and anything may stand beside it:

    chat, completions          choices, each with a message, a delta or a text
    embeddings                 data, each with an embedding
    images, image_edits        data, of which one at least is an image: url or b64_json
    rerank                     results, data or a plain list, each with an index or a score
    score                      data or results, each with a score; scores; a plain list
    moderations                results, each with flagged or categories
    tokenize                   tokens or a count; a plain list
    transcriptions, translations   a text, or segments
    speech                     a sound in base64, or its events
    messages                   content, or none in a message
    responses                  output, or none and a status that is no failure
    count_tokens               input_tokens

What JSON a handler of ``infer``, or a route that a policy names, answers with is its own.

Sources: https://platform.openai.com/docs/api-reference, https://docs.claude.com/en/api/messages,
https://docs.cohere.com/reference/rerank, https://docs.voyageai.com/reference/reranker-api, and the
servers of vLLM and SGLang, as of 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from adapters.shapes.complaints import is_failure_name
from adapters.types import Task

_Items = list[dict[str, Any]]
_SCORES = ("relevance_score", "score", "similarity", "logit")
_SOUNDS = ("audio", "audio_base64", "audioContent", "audio_content")


class Numbers(msgspec.Struct, array_like=True, gc=False):
    """A list of them, of which all but the first are passed over."""

    first: float


class Vector(msgspec.Struct, gc=False):
    """One embedding, as nearly all are: numbers, or base64."""

    embedding: Numbers | Annotated[str, msgspec.Meta(min_length=1)]


class _Vectors(msgspec.Struct, gc=False):
    data: list[Vector]


_vectors = msgspec.json.Decoder(_Vectors)


def is_answer(task: Task, said: Any) -> bool:
    """Whether decoded JSON is an answer to a call of this task."""
    shape = _SHAPES.get(task)
    return shape is None or shape(said)


def has_shape(task: Task) -> bool:
    """Whether it is known what an answer to this task must hold."""
    return task in _SHAPES


def are_choices(choices: Any) -> bool:
    """Whether these are choices of a whole answer."""
    return bool(choices) and isinstance(choices, list) and all(map(_is_choice, choices))


def has_vectors(body: bytes) -> bool:
    """Whether JSON is an answer to a call of embeddings. Not one of the numbers is made: there may
    be millions."""
    try:
        vectors = _vectors.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return bool(vectors) and hold_numbers(body, vectors)


def hold_numbers(body: bytes, vectors: list[Vector]) -> bool:
    """Whether the vectors of an answer hold numbers alone, as far as that is plain."""
    if isinstance(vectors[0].embedding, str):
        return True
    return _NO_NUMBER.search(body.translate(None, _OF_NUMBERS)) is None


_OF_NUMBERS = b"0123456789.,-+eE[] \n\t\r"
_NO_NUMBER = re.compile(rb'"mbdding":(?:[^}"]|"[^"]*+"(?!:))')
"""What stands in a vector, or in its place, when all is gone that is a number's or a list's: also
the two letters of the key."""


def _are_vectors(said: Any) -> bool:
    found = _items(said, "data") if isinstance(said, dict) else []
    return bool(found) and all(_is_vector(one.get("embedding")) for one in found)


def _is_vector(value: Any) -> bool:
    """Numbers, base64, one for each token, or several by their names."""
    if isinstance(value, list):
        each = [one if isinstance(one, list) else [one] for one in value]
        return bool(value) and all(_is_number(number) for one in each for number in one)
    return isinstance(value, str | dict) and bool(value)


def _is_choice(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return False
    for name in ("message", "delta"):
        if isinstance(said := choice.get(name), dict):
            return bool(said) or isinstance(choice.get("finish_reason"), str)
    return isinstance(choice.get("text"), str)


def _has_choices(said: Any) -> bool:
    return isinstance(said, dict) and are_choices(said.get("choices"))


def _items(said: Any, *names: str) -> _Items:
    """The objects of the first of these lists that holds any; of a plain list its own. None where
    one of them is no object."""
    lists = [said] if isinstance(said, list) else []
    if isinstance(said, dict):
        lists = [said[name] for name in names if isinstance(said.get(name), list)]
    found: list[Any] = next(filter(None, lists), [])
    return found if all(isinstance(one, dict) for one in found) else []


def _has_images(said: Any) -> bool:
    places = ("url", "b64_json")
    found = _items(said, "data") if isinstance(said, dict) else []
    return any(isinstance(one.get(name), str) and one[name] for one in found for name in places)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_ranks(said: Any) -> bool:
    found = _items(said, "results", "data")
    return bool(found) and all(
        any(_is_number(one.get(name)) for name in ("index", *_SCORES)) for one in found
    )


def _has_scores(said: Any) -> bool:
    if isinstance(said, list) and said:
        return all(_is_number(one) or isinstance(one, list) for one in said) or _has_ranks(said)
    if not isinstance(said, dict):
        return False
    plain = said.get("scores", said.get("score"))
    return _has_ranks(said) or _is_number(plain) or (isinstance(plain, list) and bool(plain))


def _has_verdicts(said: Any) -> bool:
    found = _items(said, "results") if isinstance(said, dict) else []
    return bool(found) and all("flagged" in one or "categories" in one for one in found)


def _has_tokens(said: Any) -> bool:
    if isinstance(said, list):
        return bool(said) and all(isinstance(one, list | int) for one in said)
    if not isinstance(said, dict):
        return False
    return isinstance(said.get("tokens"), list) or _is_number(said.get("count"))


def _has_words(said: Any) -> bool:
    if not isinstance(said, dict):
        return False
    return isinstance(said.get("text"), str) or isinstance(said.get("segments"), list)


def _has_sound(said: Any) -> bool:
    if not isinstance(said, dict):
        return False
    return any(isinstance(said.get(name), str | dict) and said[name] for name in _SOUNDS)


def _is_message(said: Any) -> bool:
    if not isinstance(said, dict) or not isinstance(content := said.get("content"), list):
        return False
    ended = said.get("type") == "message" or isinstance(said.get("stop_reason"), str)
    return (bool(content) or ended) and all(isinstance(part, dict) for part in content)


def _is_response(said: Any) -> bool:
    if not isinstance(said, dict) or not isinstance(output := said.get("output"), list):
        return False
    status = said.get("status")
    stands = isinstance(status, str) and not is_failure_name(status)
    return (bool(output) or stands) and all(isinstance(item, dict) for item in output)


def _is_count(said: Any) -> bool:
    return isinstance(said, dict) and _is_number(said.get("input_tokens"))


_SHAPES: dict[Task, Callable[[Any], bool]] = {
    "chat": _has_choices,
    "completions": _has_choices,
    "embeddings": _are_vectors,
    "images": _has_images,
    "image_edits": _has_images,
    "rerank": _has_ranks,
    "score": _has_scores,
    "moderations": _has_verdicts,
    "tokenize": _has_tokens,
    "transcriptions": _has_words,
    "translations": _has_words,
    "speech": _has_sound,
    "messages": _is_message,
    "responses": _is_response,
    "count_tokens": _is_count,
}
