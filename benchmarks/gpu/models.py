"""The models that are measured: architectures as they are used, with random weights.

Time does not depend on what the weights are, so nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import torch

from local_runtime.pytorch.served import Forward

SizeName = Literal["tiny", "small", "base"]


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Of both models; ``tokens`` is the length of a text, and the depth of the decoder's cache."""

    layers: int
    width: int
    heads: int
    tokens: int
    vocabulary: int


ENCODERS: dict[SizeName, Size] = {
    "tiny": Size(layers=2, width=64, heads=4, tokens=16, vocabulary=1000),
    "small": Size(layers=4, width=256, heads=8, tokens=64, vocabulary=8000),
    "base": Size(layers=12, width=768, heads=12, tokens=128, vocabulary=30522),
}
"""``base`` is BERT-base (https://arxiv.org/abs/1810.04805)."""

DECODERS: dict[SizeName, Size] = {
    "tiny": Size(layers=2, width=64, heads=4, tokens=16, vocabulary=1000),
    "small": Size(layers=4, width=256, heads=8, tokens=128, vocabulary=8000),
    "base": Size(layers=16, width=2048, heads=32, tokens=512, vocabulary=128256),
}
"""``base`` has the layers and width of Llama 3.2 1B, with as many heads for keys as for queries."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one device. ``forward`` makes the function for batches of so many rows."""

    name: str
    forward: Callable[[int], Forward]
    inputs: Callable[[int], tuple[torch.Tensor, ...]]


def encoder(size: Size, device: torch.device, dtype: torch.dtype) -> Case:
    """BERT: token numbers (rows, tokens) -> the first token's vector (rows, width)."""
    model = encoder_module(size).to(device, dtype).eval()

    def forward(ids: torch.Tensor) -> torch.Tensor:
        return model(input_ids=ids).last_hidden_state[:, 0]

    return Case(
        name="encoder",
        forward=lambda rows: forward,
        inputs=lambda rows: (_numbers(size, rows, size.tokens),),
    )


def decoder(size: Size, device: torch.device, dtype: torch.dtype) -> Case:
    """Llama, one step: the last token (rows, 1) -> logits (rows, vocabulary), behind a cache in
    which ``size.tokens`` stand already. Each step is at the same depth, so they cost the same."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(_llama(size)).to(device, dtype).eval()
    return Case(
        name="decoder step",
        forward=lambda rows: _step(model, size, rows, device),
        inputs=lambda rows: (_numbers(size, rows, 1),),
    )


def encoder_module(size: Size) -> Any:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
    )
    return BertModel(config, add_pooling_layer=False)


def _llama(size: Size) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        intermediate_size=4 * size.width,
        max_position_embeddings=2 * size.tokens,
    )


def _step(model: Any, size: Size, rows: int, device: torch.device) -> Forward:
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=size.tokens + 8)
    with torch.inference_mode():
        prompt = _numbers(size, rows, size.tokens).to(device)
        model(input_ids=prompt, past_key_values=cache, use_cache=True)
    depths = [layer.cumulative_length for layer in cache.layers]

    def forward(ids: torch.Tensor) -> torch.Tensor:
        for depth in depths:
            depth.fill_(size.tokens)
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1]

    return forward


def _numbers(size: Size, rows: int, tokens: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(rows)
    return torch.randint(1, size.vocabulary, (rows, tokens), generator=source)
