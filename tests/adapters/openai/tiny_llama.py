"""A llama of a few hundred kilobytes with random weights, written as a GGUF file.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import random
import struct
from array import array
from pathlib import Path

_WIDTH, _HEADS, _HIDDEN, _BLOCKS = 64, 4, 128, 2
_U32, _F32, _STRING, _ARRAY, _I32 = 4, 6, 8, 9, 5
_ALIGNMENT = 32
_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6


def write_tiny_llama(path: Path) -> None:
    values = _values()
    infos, data = _tensors()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(_shapes()), len(values))
    head += b"".join(_text(key) + value for key, value in values.items()) + infos
    path.write_bytes(_padded(head) + data)


def _values() -> dict[str, bytes]:
    size = len(_TOKENS)
    types = [_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * 256
    return {
        "general.architecture": _string("llama"),
        "llama.context_length": _u32(512),
        "llama.embedding_length": _u32(_WIDTH),
        "llama.block_count": _u32(_BLOCKS),
        "llama.feed_forward_length": _u32(_HIDDEN),
        "llama.attention.head_count": _u32(_HEADS),
        "llama.attention.head_count_kv": _u32(_HEADS),
        "llama.rope.dimension_count": _u32(_WIDTH // _HEADS),
        "llama.attention.layer_norm_rms_epsilon": struct.pack("<If", _F32, 1e-5),
        "tokenizer.ggml.model": _string("llama"),
        "tokenizer.ggml.tokens": _array(_STRING, [_text(token) for token in _TOKENS]),
        "tokenizer.ggml.scores": _array(_F32, [struct.pack("<f", -i) for i in range(size)]),
        "tokenizer.ggml.token_type": _array(_I32, [struct.pack("<i", one) for one in types]),
        "tokenizer.ggml.bos_token_id": _u32(1),
        "tokenizer.ggml.eos_token_id": _u32(2),
        "tokenizer.ggml.unknown_token_id": _u32(0),
    }


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (_WIDTH, len(_TOKENS)),
        "output_norm.weight": (_WIDTH,),
        "output.weight": (_WIDTH, len(_TOKENS)),
    }
    for block in (f"blk.{number}" for number in range(_BLOCKS)):
        for norm in ("attn_norm", "ffn_norm"):
            shapes[f"{block}.{norm}.weight"] = (_WIDTH,)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"{block}.{part}.weight"] = (_WIDTH, _WIDTH)
        shapes[f"{block}.ffn_gate.weight"] = (_WIDTH, _HIDDEN)
        shapes[f"{block}.ffn_up.weight"] = (_WIDTH, _HIDDEN)
        shapes[f"{block}.ffn_down.weight"] = (_HIDDEN, _WIDTH)
    return shapes


def _tensors() -> tuple[bytes, bytes]:
    """What describes each tensor, and the numbers of all."""
    draw = random.Random(7)
    infos, data = b"", b""
    for name, shape in _shapes().items():
        count = math.prod(shape)
        norm = "norm" in name
        numbers = array("f", (1.0 if norm else draw.gauss(0, 0.3) for _ in range(count)))
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos += _text(name) + sizes + struct.pack("<IQ", 0, len(data))
        data += _padded(numbers.tobytes())
    return infos, data


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _string(text: str) -> bytes:
    return struct.pack("<I", _STRING) + _text(text)


def _u32(value: int) -> bytes:
    return struct.pack("<II", _U32, value)


def _array(kind: int, items: list[bytes]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)
