"""OpenAI's surface: chat completions, completions, embeddings, responses; and Anthropic's messages.

Only the fields that the gateway acts on are read; the body goes to the backend as it came.
Shapes: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from adapters.shapes.json_texts import UNREADABLE, value_in
from adapters.types import ASKED_OF, WRITES_NOTHING, Task
from gateway.active_policy import ActivePolicy
from gateway.api.calls.call_requests import serve
from gateway.api.calls.input_words import parts_of_input, parts_of_messages
from gateway.api.calls.wrong_endpoint import wrong_endpoint
from gateway.api.requests.bodies import DecidingKeys, check_utf8, malformed, read_body
from gateway.api.requests.request import (
    NO_ABILITIES,
    ParsedRequest,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
)
from gateway.api.requests.sessions import WORTH, session_of_chat
from gateway.dialects.shown_names import encoded, renamed
from gateway.jobs.digests import AsSent
from gateway.money.inputs import TEXT_ALONE, InputParts, PartKind, parts_of
from gateway.money.pricing import MOST_TOKENS
from gateway.policy.model import Ability, ModelSpec
from gateway.service import Gateway
from gateway.types import ApiError, Principal, in_json_words

_NOTHING = msgspec.Raw(b"null")
_NAMES_NONE = (b"", b"null", b'""', b"{}")


class StreamOptions(msgspec.Struct, frozen=True):
    """``include_usage``: whether a stream ends with an event that says what it used."""

    include_usage: bool | None = None


class Envelope(msgspec.Struct, frozen=True):
    """What every body has."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    prompt_cache_key: str | None = None


class ChatBody(Envelope, frozen=True):
    """Of POST /v1/chat/completions."""

    response_format: msgspec.Raw = _NOTHING
    messages: list[dict[str, Any]] = msgspec.field(default_factory=list)
    tools: msgspec.Raw = _NOTHING
    web_search_options: msgspec.Raw = _NOTHING


class CompletionBody(Envelope, frozen=True):
    """Of POST /v1/completions."""

    prompt: str | list[Any] | None = None


class EmbeddingsBody(Envelope, frozen=True):
    """Of POST /v1/embeddings."""

    input: str | list[Any] = ""


class MessagesBody(Envelope, frozen=True):
    """Of POST /v1/messages."""

    output_config: msgspec.Raw = _NOTHING
    output_format: msgspec.Raw = _NOTHING
    messages: list[dict[str, Any]] = msgspec.field(default_factory=list)
    system: msgspec.Raw = _NOTHING
    tools: msgspec.Raw = _NOTHING


class ResponsesBody(Envelope, frozen=True):
    """Of POST /v1/responses."""

    input: str | list[dict[str, Any]] = ""
    instructions: msgspec.Raw = _NOTHING
    max_output_tokens: int | None = None
    background: bool | None = None
    text: msgspec.Raw = _NOTHING
    tools: msgspec.Raw = _NOTHING
    previous_response_id: msgspec.Raw = _NOTHING
    conversation: msgspec.Raw = _NOTHING
    prompt: msgspec.Raw = _NOTHING

    @property
    def names_what_is_kept(self) -> bool:
        """Whether the engine reads what the request only names."""
        names = (self.previous_response_id, self.conversation, self.prompt)
        return any(bytes(raw) not in _NAMES_NONE for raw in names)


Body = ChatBody | CompletionBody | EmbeddingsBody | MessagesBody | ResponsesBody

DECODERS: dict[Task, msgspec.json.Decoder[Any]] = {
    "chat": msgspec.json.Decoder(ChatBody),
    "completions": msgspec.json.Decoder(CompletionBody),
    "embeddings": msgspec.json.Decoder(EmbeddingsBody),
    "messages": msgspec.json.Decoder(MessagesBody),
    "count_tokens": msgspec.json.Decoder(MessagesBody),
    "responses": msgspec.json.Decoder(ResponsesBody),
}
DECIDING = DecidingKeys(
    frozenset(name for body in get_args(Body) for name in body.__struct_fields__)
)
"""Of a call in OpenAI's shape: all that is read of it."""
_NEEDED: dict[Task, str] = {
    "chat": "messages",
    "completions": "prompt",
    "embeddings": "input",
    "messages": "messages",
    "count_tokens": "messages",
    "responses": "input",
}


class OpenAIEndpoint:
    """POST of one task. Raises ApiError 400 for a body that cannot be read or a model of another
    task, 404 for an unknown model."""

    def __init__(self, gateway: Gateway, task: Task) -> None:
        self._gateway = gateway
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        if scope["method"] != "POST":
            only("POST", scope)
        active = self._gateway.active
        body = await read_body(self._gateway, context, receive)
        parsed = parsed_call(active, context.principal, self._task, body)
        if BETA in context.headers:
            parsed = with_betas(parsed, context)
        await serve(self._gateway, context, parsed, receive, send)


BETA = b"anthropic-beta"


def with_betas(parsed: ParsedRequest, context: RequestContext) -> ParsedRequest:
    """A message with what its ``anthropic-beta`` asks for, where that header is text."""
    header = context.headers.get(BETA)
    if not header or parsed.task not in _ANTHROPICS:
        return parsed
    given = header.decode("latin-1")
    if not (given.isascii() and given.isprintable()):
        return parsed
    return msgspec.structs.replace(parsed, betas=given)


_ANTHROPICS = ("messages", "count_tokens")


def parsed_call(
    active: ActivePolicy, principal: Principal, task: Task, body: bytes
) -> ParsedRequest:
    """A body of one of OpenAI's tasks, as far as the gateway acts on it. Raises ApiError 400 for
    one that cannot be read or a model of another task, 404 for an unknown model."""
    envelope = _envelope(task, body)
    model, spec = active.found(envelope.model, principal)
    if spec.task != ASKED_OF.get(task, task):
        raise wrong_endpoint(envelope.model, spec, task)
    streams = bool(envelope.stream) and task not in WRITES_NOTHING
    options = envelope.stream_options
    output, unbounded = output_of(envelope, task, spec.max_output_tokens)
    if type(envelope) is ResponsesBody and envelope.background:
        raise _no_background()
    shown, sent = "", None
    if model != envelope.model:
        shown, sent = envelope.model, AsSent(envelope.model, body)
        body = renamed(body, encoded(model))
    parts = parts_in(envelope)
    return ParsedRequest(
        model,
        task,
        body,
        streams,
        options is not None and bool(options.include_usage),
        output,
        unbounded,
        parts,
        abilities=abilities_in(envelope, parts) if model in active.demands.choosy else NO_ABILITIES,
        shown=shown,
        session=""
        if envelope.prompt_cache_key is None and len(body) < WORTH
        else _session(envelope, spec, body),
        sent=sent,
    )


def _no_background() -> ApiError:
    return ApiError(
        400,
        "unsupported",
        "A response in the background would be metered by nobody. Leave `background` out, and send "
        "`Prefer: respond-async`: the call becomes a job.",
        param="background",
    )


def _session(envelope: Envelope, spec: ModelSpec, body: bytes) -> str:
    if len(spec.backends) == 1:
        return ""
    return session_of_chat(envelope.prompt_cache_key, _turns(envelope), len(body))


def _turns(envelope: Envelope) -> list[Any]:
    """What was said in turn, the instructions first; none where the body only names it."""
    if isinstance(envelope, ChatBody):
        return [*envelope.messages]
    if isinstance(envelope, MessagesBody):
        return [_told(envelope.system), *envelope.messages]
    if isinstance(envelope, ResponsesBody) and not envelope.names_what_is_kept:
        said = envelope.input
        items = [{"role": "user", "content": said}] if isinstance(said, str) else said
        return [_told(envelope.instructions), *items]
    return []


def _told(raw: msgspec.Raw) -> dict[str, Any]:
    return {"role": "system", "content": _read(raw)}


def _envelope(task: Task, body: bytes) -> Envelope:
    if not body.isascii():
        check_utf8(body)
    try:
        envelope: Envelope = DECODERS[task].decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, body) from None
    DECIDING.check(body)
    needed = _NEEDED[task]
    if not getattr(envelope, needed):
        raise ApiError(
            400,
            "missing_field",
            f"{needed!r} is missing from the request, or empty.",
            param=needed,
        )
    return envelope


def output_of(envelope: Envelope, task: Task, most: int) -> tuple[int, int]:
    """The most tokens that the answers to one body may hold together, and how many of them the
    body does not bound; ``most`` is what each may hold then.

    Of the two fields that bound a chat's answer the larger one counts, as nobody knows which of
    them a backend reads; messages and responses have one alone, and no other is heeded. A bound
    below 1 is none, as to some servers -1 means without end: then the other one is what such an
    answer is given.
    """
    if task in WRITES_NOTHING:
        return 0, 0
    one, other = envelope.max_completion_tokens, envelope.max_tokens
    if type(envelope) is ResponsesBody:
        one, other = None, envelope.max_output_tokens
    elif type(envelope) is MessagesBody:
        one = None
    asked, answers = one or 0, envelope.n or 1
    if other is not None and other > asked:
        asked = other
    if envelope.best_of is not None and envelope.best_of > answers:
        answers = envelope.best_of
    if answers < 1:
        answers = 1
    if type(envelope) is CompletionBody:
        answers *= _prompts(envelope.prompt)
    is_bound = asked > 0 and (one is None or one >= 1) and (other is None or other >= 1)
    tokens = (asked if asked > 0 else most) * answers
    return tokens if tokens < MOST_TOKENS else MOST_TOKENS, 0 if is_bound else answers


def parts_in(envelope: Envelope) -> InputParts:
    """What a chat holds beside text."""
    if type(envelope) is MessagesBody:
        return parts_of_messages(envelope.messages, _read(envelope.tools))
    if type(envelope) is ResponsesBody:
        return parts_of_input(
            envelope.input, _read(envelope.tools), kept=envelope.names_what_is_kept
        )
    if type(envelope) is not ChatBody:
        return TEXT_ALONE
    tools, searches = envelope.tools, envelope.web_search_options
    if tools is _NOTHING and searches is _NOTHING:
        return parts_of(envelope.messages)
    return parts_of(envelope.messages, _read(tools), searches=_read(searches))


def abilities_in(envelope: Envelope, parts: InputParts) -> frozenset[Ability]:
    """What a chat needs that not every model can do: what it brings, tools, a shape of answer."""
    if not isinstance(envelope, ChatBody | MessagesBody | ResponsesBody):
        return NO_ABILITIES
    found: set[Ability] = set()
    if bytes(envelope.tools) not in _NO_LIST:
        found.add("tools")
    if _asks_shape(envelope):
        found.add("response_format")
    found.update(_BROUGHT[kind] for kind, _ in parts.counts if kind in _BROUGHT)
    return frozenset(found) if found else NO_ABILITIES


def _asks_shape(envelope: ChatBody | MessagesBody | ResponsesBody) -> bool:
    return any(b'"json_' in bytes(getattr(envelope, name, b"")) for name in _SHAPES)


_SHAPES = ("response_format", "output_config", "output_format", "text")
"""Where the three say in which shape an answer is wanted."""
_NO_LIST = (b"null", b"[]")
_BROUGHT: dict[PartKind, Ability] = {
    "image": "image",
    "audio": "audio",
    "video": "video",
    "file": "file",
}


def _read(raw: msgspec.Raw) -> Any:
    if raw is _NOTHING:
        return None
    try:
        return value_in(raw)
    except UNREADABLE as error:
        raise malformed(error, bytes(raw)) from None


def _prompts(prompt: str | list[Any] | None) -> int:
    """A list of texts, or of lists of tokens, is many prompts; a list of tokens is one."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)):
        return len(prompt)
    return 1


def invalid_field(error: msgspec.ValidationError) -> ApiError:
    """'Expected `str`, got `int` - at `$.model`' -> a 400 that names the field."""
    text = str(error)
    what, _, where = text.partition(" - at `$")
    param = where.rstrip("`").lstrip(".") or None
    if "missing required field" in text:
        param = text.rpartition("`")[0].rpartition("`")[2]
        return ApiError(
            400, "missing_field", f"{param!r} is missing from the request.", param=param
        )
    place = f" in {param!r}" if param else ""
    return ApiError(400, "invalid_field", f"{in_json_words(what)}{place}.", param=param)
