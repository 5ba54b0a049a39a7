"""Text generation in OpenAI's shapes, through transformers, streaming.

    backends:
      home: {kind: local, app: examples/textgen.py:app}

Set SPILLGATE_TEXT_MODEL to a hub id or a folder to serve a real model. Without it a tiny Llama with
random weights is made in memory: it says so first, and then noise. The path is the real one, and
nothing is downloaded. Calls are generated together, and each joins and leaves between two tokens.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from local_runtime import InvalidInput, Request, Runtime, Step
from local_runtime.pytorch import device_of
from local_runtime.pytorch.decoding import Decoder
from local_runtime.pytorch.tokens import Draw, IncrementalText, pick

CONTEXT = 2048
OPENING = "My weights are random: set SPILLGATE_TEXT_MODEL to a real model."
"""What the toy model says first, a token a letter; as long as an answer is if nobody says."""
CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "assistant:"
)
UNABLE = (
    *("n", "best_of", "echo", "suffix", "logprobs", "top_logprobs", "logit_bias"),
    *("frequency_penalty", "presence_penalty", "tools", "functions", "response_format"),
)
"""Fields that would change the answer: refused, but for these values, and what is empty."""
IDLE: dict[str, Any] = {"n": 1, "best_of": 1, "response_format": {"type": "text"}}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may set; what is not in ``UNABLE`` either passes unread."""

    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None

    @property
    def limit(self) -> int:
        given = (self.max_completion_tokens, self.max_tokens, len(OPENING))
        return next(limit for limit in given if limit is not None)

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class Generator:
    """A causal model, its tokenizer, which tokens it may say, and which it says first."""

    opening: Sequence[int] = ()

    def __init__(self, model: Any, tokenizer: Any, name: str, mute: torch.Tensor | None) -> None:
        self.decoder = Decoder(model)
        self.tokenizer = tokenizer
        self.name = name
        self.mute = mute if mute is None else mute.to(model.device)
        """Added to the logits: minus infinity for tokens that are never said."""
        self.window: int = model.config.max_position_embeddings
        end = model.generation_config.eos_token_id
        self.ends: set[int] = set(end if isinstance(end, list) else [end]) - {None}

    def heard(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits (..., vocabulary) without what it never says."""
        return logits if self.mute is None else logits + self.mute


def load() -> Generator:
    if (name := os.environ.get("SPILLGATE_TEXT_MODEL")) is None:
        return toy(device_of())
    model = AutoModelForCausalLM.from_pretrained(name, dtype="auto").to(device_of()).eval()
    return Generator(model, AutoTokenizer.from_pretrained(name), name, None)


def toy(device: torch.device) -> Generator:
    """A Llama of two layers with random weights; each byte is a token, and it says only printable
    ones. The same weights every time."""
    tokenizer = _byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    mute = torch.full((len(tokenizer),), float("-inf"))
    mute[[tokenizer.convert_tokens_to_ids(chr(code)) for code in range(33, 127)]] = 0.0
    model = LlamaForCausalLM(config).to(device).eval()
    made = Generator(model, tokenizer, "toy-llama", mute)
    made.opening = tokenizer(OPENING, add_special_tokens=False)["input_ids"]
    return made


def _byte_tokenizer() -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, "<s>", "</s>"])}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    fast.chat_template = CHAT
    return fast


# --- generating ---------------------------------------------------------------------------------


class Generation:
    """One answer while it grows; afterwards it knows why it ended and what it took. Raises
    InvalidInput for a prompt that leaves no room, in the name of the field ``ask``."""

    def __init__(self, generator: Generator, prompt: list[int], options: Options, ask: str) -> None:
        room = generator.window - len(prompt)
        if room < 1:
            text = f"the prompt has {len(prompt)} tokens; the model takes {generator.window - 1}"
            raise InvalidInput(text, param=ask)
        self.limit = min(options.limit, room)
        self.finish_reason: str | None = None
        self.prompt_tokens = len(prompt)
        self.completion_tokens = 0
        self._generator = generator
        self._options = options
        self._text = IncrementalText(generator.tokenizer, options.stops)
        self._random = random.Random(options.seed)
        self._luck = self._random.random()
        self.token: int | None = None
        """The last one, which the model has not seen yet."""
        self.row, logits = generator.decoder.prefill(prompt)
        self.logits: torch.Tensor | None = generator.heard(logits)
        """Of what comes next, until it is picked."""

    @property
    def draw(self) -> Draw:
        """How its next token is drawn; the same until it is there."""
        asked = (self._options.temperature, self._options.top_p)
        temperature, top_p = (1.0 if given is None else given for given in asked)
        return Draw(temperature, top_p, self._luck)

    def grow(self, token: int) -> str:
        """Takes the next token; what may be said now. It has ended when there is a finish reason,
        and then nothing is held back."""
        self.token, self.logits, self._luck = token, None, self._random.random()
        self.completion_tokens += 1
        piece = ""
        if self.token in self._generator.ends:
            self.finish_reason = "stop"
        else:
            piece = self._text.add(self.token)
            if self._text.stopped:
                self.finish_reason = "stop"
            elif self.completion_tokens >= self.limit:
                self.finish_reason = "length"
        return piece + self._text.rest() if self.finish_reason else piece

    @property
    def usage(self) -> dict[str, int]:
        prompt, said = self.prompt_tokens, self.completion_tokens
        return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def next_tokens(generator: Generator, generations: Sequence[Generation]) -> list[int]:
    """The next token of each, after one pass for all whose last one the model has not seen. When it
    raises, all are as they were."""
    behind = [(one, one.token) for one in generations if one.logits is None]
    waiting = [(one, token) for one, token in behind if token is not None]
    if waiting:
        rows = [one.row for one, _ in waiting]
        logits = generator.heard(generator.decoder.advance(rows, [token for _, token in waiting]))
        for (one, _), own in zip(waiting, logits, strict=True):
            one.logits = own
    all_logits = [one.logits for one in generations if one.logits is not None]
    drawn = pick(torch.stack(all_logits), [one.draw for one in generations])
    said = [generator.opening[one.completion_tokens :][:1] for one in generations]
    return [first[0] if first else token for first, token in zip(said, drawn, strict=True)]


# --- OpenAI's shapes ----------------------------------------------------------------------------


class Chat:
    """https://platform.openai.com/docs/api-reference/chat"""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"
    ask = "messages"

    def prompt(self, tokenizer: Any, body: dict[str, Any]) -> list[int]:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise InvalidInput("messages must be a list that is not empty", param="messages")
        plain = [_message(message) for message in messages]
        text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def opening(self) -> dict[str, Any] | None:
        return {"delta": {"role": "assistant", "content": ""}}

    def piece(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text}}

    def closing(self) -> dict[str, Any]:
        return {"delta": {}}

    def choice(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}


class Completions:
    """https://platform.openai.com/docs/api-reference/completions"""

    prefix, whole, part = "cmpl", "text_completion", "text_completion"
    ask = "prompt"

    def prompt(self, tokenizer: Any, body: dict[str, Any]) -> list[int]:
        text = body.get("prompt")
        if isinstance(text, list) and len(text) == 1:
            text = text[0]
        if not isinstance(text, str) or not text:
            raise InvalidInput("prompt must be one text that is not empty", param="prompt")
        return list(tokenizer(text)["input_ids"])

    def opening(self) -> dict[str, Any] | None:
        return None

    def piece(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def closing(self) -> dict[str, Any]:
        return {"text": ""}

    def choice(self, text: str) -> dict[str, Any]:
        return {"text": text}


Shape = Chat | Completions


def _message(message: Any) -> dict[str, str]:
    """A message with its content as one text; parts of text are joined."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidInput("each message has a role and a content", param="messages")
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if not isinstance(content, str):
        raise InvalidInput("the content of a message is text", param="messages")
    return {"role": message["role"], "content": content}


def _part(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else None
    if not isinstance(text, str):
        raise InvalidInput("this model takes text alone", param="messages")
    return text


def _options(body: Any) -> Options:
    try:
        options = msgspec.convert(body, Options)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the request is not valid: {error}") from None
    for name in UNABLE:
        if body.get(name) and body[name] != IDLE.get(name):
            raise InvalidInput(f"this model does not do {name}: leave it out", param=name)
    if "" in options.stops:
        raise InvalidInput("stop must not be empty", param="stop")
    if options.limit < 1:
        raise InvalidInput("max_tokens must be at least 1", param="max_tokens")
    return options


def _choice(content: dict[str, Any], finish: str | None) -> list[dict[str, Any]]:
    return [{"index": 0, **content, "logprobs": None, "finish_reason": finish}]


class Answer:
    """A generation in the words of its route, streamed or whole as the body asks. Raises
    InvalidInput."""

    def __init__(self, generator: Generator, request: Request, shape: Shape) -> None:
        options = _options(request.json)
        prompt = shape.prompt(generator.tokenizer, request.json)
        self.generation = Generation(generator, prompt, options, shape.ask)
        self._shape = shape
        self._stream = bool(options.stream)
        self._said: list[str] = []
        self._frame = {
            "id": f"{shape.prefix}-{request.id}",
            "object": shape.part if self._stream else shape.whole,
            "created": int(time.time()),
            "model": request.json.get("model") or generator.name,
        }

    def step(self, token: int) -> Step:
        """What one more token gives."""
        generation = self.generation
        first, piece = not generation.completion_tokens, generation.grow(token)
        if not self._stream:
            self._said.append(piece)
        done = generation.finish_reason is not None
        return Step(
            items=self._events(first, piece) if self._stream else (),
            done=done,
            result=self._whole() if done and not self._stream else None,
            prompt_tokens=generation.prompt_tokens,
            completion_tokens=generation.completion_tokens,
        )

    def _whole(self) -> dict[str, Any]:
        choice = self._shape.choice("".join(self._said))
        return {
            **self._frame,
            "choices": _choice(choice, self.generation.finish_reason),
            "usage": self.generation.usage,
        }

    def _events(self, first: bool, piece: str) -> list[dict[str, Any]]:
        """The items of a stream; the last one holds the usage alone, which the gateway passes on to
        a caller who asked for it with ``stream_options.include_usage``."""
        shape, finish = self._shape, self.generation.finish_reason
        choices = []
        if first and (opening := shape.opening()) is not None:
            choices.append(_choice(opening, None))
        if piece:
            choices.append(_choice(shape.piece(piece), None))
        if finish is not None:
            choices.append(_choice(shape.closing(), finish))
        events = [{**self._frame, "choices": choice} for choice in choices]
        if finish is not None:
            events.append({**self._frame, "choices": [], "usage": self.generation.usage})
        return events


# --- the app ------------------------------------------------------------------------------------

app = Runtime("textgen")
AT_ONCE = 16
CHATS, TEXTS = "/v1/chat/completions", "/v1/completions"
SHAPES: dict[str, Shape] = {CHATS: Chat(), TEXTS: Completions()}
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@app.init
def init() -> dict[str, Any]:
    return {"generator": load()}


@app.stepper(CHATS, max_size=AT_ONCE, retry=True, warmup=HELLO)
@app.stepper(TEXTS, max_size=AT_ONCE, retry=True, warmup={"prompt": "hello", "max_tokens": 4})
class Writer:
    """Both routes, in one company: a pass of the model for all, then a token for each."""

    def __init__(self, context: dict[str, Any]) -> None:
        self._generator: Generator = context["generator"]

    def admit(self, request: Request) -> Answer:
        """Reads the prompt: one pass of its own."""
        return Answer(self._generator, request, SHAPES[request.route])

    def step(self, states: list[Answer]) -> list[Step | Exception | None]:
        tokens = next_tokens(self._generator, [state.generation for state in states])
        return [_stepped(state, token) for state, token in zip(states, tokens, strict=True)]

    def evict(self, state: Answer) -> None:
        self._generator.decoder.drop(state.generation.row)


def _stepped(answer: Answer, token: int) -> Step | Exception:
    """An answer that fails here fails alone: the others have their token."""
    try:
        return answer.step(token)
    except Exception as error:
        return error
