"""Text generation in OpenAI's shapes, through transformers, streaming.

    backends:
      home: {kind: local, app: examples/textgen.py:app}

Set SPILLGATE_TEXT_MODEL to a hub id or a folder to serve a real model. Without it a tiny Llama with
random weights is made in memory, whose text is noise: the path is the real one, and nothing is
downloaded. Several calls run at once, a token of each in turn.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

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

from local_runtime import InvalidInput, Request, Runtime

CONTEXT = 2048
"""Tokens of the toy model's window."""
DEFAULT_MAX_TOKENS = 64
CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "assistant:"
)
BROKEN = "\N{REPLACEMENT CHARACTER}"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may set; all else passes unread."""

    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    n: int | None = None

    @property
    def limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or DEFAULT_MAX_TOKENS

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class Generator:
    """A causal model, its tokenizer, and which tokens it may say."""

    def __init__(self, model: Any, tokenizer: Any, name: str, mute: torch.Tensor | None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.mute = mute
        """Added to the logits: minus infinity for tokens that are never said."""
        self.window: int = model.config.max_position_embeddings
        end = model.generation_config.eos_token_id
        self.ends: set[int] = set(end if isinstance(end, list) else [end]) - {None}

    def step(self, ids: torch.Tensor, past: Any) -> tuple[torch.Tensor, Any]:
        """One pass: token numbers (1, new) and the cache -> logits (vocabulary,) and the cache."""
        with torch.inference_mode():
            out = self.model(input_ids=ids, past_key_values=past, use_cache=True)
        logits = out.logits[0, -1].float().cpu()
        return (logits if self.mute is None else logits + self.mute), out.past_key_values


def load() -> Generator:
    device = os.environ.get("SPILLGATE_DEVICE", "auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name = os.environ.get("SPILLGATE_TEXT_MODEL")
    if name is None:
        return toy(device)
    model = AutoModelForCausalLM.from_pretrained(name, dtype="auto").to(device).eval()
    return Generator(model, AutoTokenizer.from_pretrained(name), name, None)


def toy(device: str) -> Generator:
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
    return Generator(model, tokenizer, "toy-llama", mute)


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


class Text:
    """Token numbers that become text: holds back half a character, and what may turn out to be
    the beginning of a stop."""

    def __init__(self, tokenizer: Any, stops: list[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._ids: list[int] = []
        self._said = 0
        self.stopped = False

    def add(self, token: int) -> str:
        """What may be said after one more token."""
        self._ids.append(token)
        return self._say(final=False)

    def rest(self) -> str:
        """What was held back and is to be said at the end."""
        return "" if self.stopped else self._say(final=True)

    def _say(self, *, final: bool) -> str:
        text: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        end = len(text)
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            end, self.stopped = min(found), True
        elif not final:
            end -= _held(text, self._stops)
        piece, self._said = text[self._said : end], max(self._said, end)
        return piece


def _held(text: str, stops: list[str]) -> int:
    """How many of the last characters may not be said yet."""
    if text.endswith(BROKEN):
        return len(text) - len(text.rstrip(BROKEN))
    sizes = [size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])]
    return max(sizes, default=0)


def pick(logits: torch.Tensor, options: Options, random: torch.Generator) -> int:
    """The next token: the likeliest at temperature 0, else drawn from the likeliest whose
    probabilities add up to ``top_p`` (nucleus sampling, https://arxiv.org/abs/1904.09751)."""
    temperature = 1.0 if options.temperature is None else options.temperature
    if temperature <= 0:
        return int(logits.argmax())
    chances, order = (logits / temperature).softmax(-1).sort(descending=True)
    if options.top_p is not None and options.top_p < 1:
        chances = chances * (chances.cumsum(-1) - chances < options.top_p)
    return int(order[torch.multinomial(chances, 1, generator=random)])


class Generation:
    """One answer while it grows; afterwards it knows why it ended and what it took."""

    def __init__(self, generator: Generator, prompt: list[int], options: Options) -> None:
        self.generator = generator
        self.prompt = prompt
        self.options = options
        self.finish_reason = "length"
        self.completion_tokens = 0
        room = generator.window - len(prompt)
        if room < 1:
            text = f"the prompt has {len(prompt)} tokens; the model takes {generator.window - 1}"
            raise InvalidInput(text, param="messages")
        self.limit = min(options.limit, room)

    async def pieces(self) -> AsyncIterator[str]:
        """The text, piece by piece; between two tokens other calls have their turn."""
        text, random = Text(self.generator.tokenizer, self.options.stops), torch.Generator()
        if self.options.seed is None:
            random.seed()
        else:
            random.manual_seed(self.options.seed % 2**63)
        ids, past = torch.tensor([self.prompt]), None
        for _ in range(self.limit):
            logits, past = self.generator.step(ids.to(self.generator.model.device), past)
            token = pick(logits, self.options, random)
            self.completion_tokens += 1
            if token in self.generator.ends:
                self.finish_reason = "stop"
                break
            if piece := text.add(token):
                yield piece
            if text.stopped:
                self.finish_reason = "stop"
                break
            ids = torch.tensor([[token]])
            await asyncio.sleep(0)
        if piece := text.rest():
            yield piece

    @property
    def usage(self) -> dict[str, int]:
        prompt, completion = len(self.prompt), self.completion_tokens
        total = prompt + completion
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": total,
        }


# --- OpenAI's shapes ----------------------------------------------------------------------------


class Chat:
    """https://platform.openai.com/docs/api-reference/chat"""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def prompt(self, tokenizer: Any, body: dict[str, Any]) -> list[int]:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise InvalidInput("messages must be a list that is not empty", param="messages")
        plain = [_message(message) for message in messages]
        text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

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

    def prompt(self, tokenizer: Any, body: dict[str, Any]) -> list[int]:
        text = body.get("prompt")
        if isinstance(text, list) and len(text) == 1:
            text = text[0]
        if not isinstance(text, str) or not text:
            raise InvalidInput("prompt must be one text that is not empty", param="prompt")
        ids: list[int] = tokenizer(text)["input_ids"]
        return ids

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
    if options.n not in (None, 1):
        raise InvalidInput("n must be 1", param="n")
    if options.limit < 1:
        raise InvalidInput("max_tokens must be at least 1", param="max_tokens")
    return options


def _frame(shape: Shape, kind: str, name: str, id: str) -> dict[str, Any]:
    return {
        "id": f"{shape.prefix}-{id}",
        "object": kind,
        "created": int(time.time()),
        "model": name,
    }


def _choice(content: dict[str, Any], finish: str | None) -> list[dict[str, Any]]:
    return [{"index": 0, **content, "logprobs": None, "finish_reason": finish}]


async def complete(context: dict[str, Any], request: Request, shape: Shape) -> Any:
    """A whole answer, or the generator of a stream when the body asks for one."""
    generator: Generator = context["generator"]
    options = _options(request.json)
    prompt = shape.prompt(generator.tokenizer, request.json)
    generation = Generation(generator, prompt, options)
    name = request.json.get("model") or generator.name
    if options.stream:
        return _stream(shape, generation, _frame(shape, shape.part, name, request.id))
    text = "".join([piece async for piece in generation.pieces()])
    return {
        **_frame(shape, shape.whole, name, request.id),
        "choices": _choice(shape.choice(text), generation.finish_reason),
        "usage": generation.usage,
    }


async def _stream(
    shape: Shape, generation: Generation, frame: dict[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The items of a stream; the last one holds the usage alone, which the gateway passes on to
    a caller who asked for it with ``stream_options.include_usage``."""
    if (opening := shape.opening()) is not None:
        yield {**frame, "choices": _choice(opening, None)}
    async for piece in generation.pieces():
        yield {**frame, "choices": _choice(shape.piece(piece), None)}
    yield {**frame, "choices": _choice(shape.closing(), generation.finish_reason)}
    yield {**frame, "choices": [], "usage": generation.usage}


# --- the app ------------------------------------------------------------------------------------

app = Runtime("textgen")


@app.init
def init() -> dict[str, Any]:
    return {"generator": load()}


@app.handler(
    "/v1/chat/completions",
    concurrency=8,
    warmup={"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4},
)
async def chat(context: dict[str, Any], request: Request) -> Any:
    return await complete(context, request, Chat())


@app.handler("/v1/completions", concurrency=8, warmup={"prompt": "hello", "max_tokens": 4})
async def completions(context: dict[str, Any], request: Request) -> Any:
    return await complete(context, request, Completions())
