"""The embeddings example: the right numbers, in OpenAI's shape, through real workers."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.errors import BackendError, FailureClass
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import Call
from examples.embeddings import MAX_TOKENS, MiniLM, Model, _padded, answer, answers, load
from gateway.clock import SystemClock
from local_runtime import InvalidInput
from local_runtime.pytorch import Buckets, Served
from tests.waiting import until

APP = str(Path(__file__).parents[2] / "examples" / "embeddings.py") + ":app"
TEXTS = [
    "A spill gate lets the flood over.",
    "The reservoir carries the steady load, the gate lets the flood over, metered.",
    "naïve café, 東京, 🙂",
    "word " * 400,
]


@pytest.fixture(scope="module")
def model() -> Model:
    return load("cpu")


def reference(texts: list[str]) -> torch.Tensor:
    """The same model by transformers' own BertModel, one text at a time, without padding."""
    from transformers import AutoTokenizer, BertModel

    from examples.embeddings import _folder

    bert = BertModel.from_pretrained(str(_folder())).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(_folder()))
    rows = []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            mean = bert(**batch).last_hidden_state[0].mean(0)
        rows.append(mean / mean.norm())
    return torch.stack(rows)


def test_the_vectors_are_those_of_the_reference_implementation(model: Model) -> None:
    """To 1e-4 in each of 384 dimensions, padded in one batch or not, truncated or not."""
    got = model.embed(TEXTS)
    assert got.vectors.shape == (4, 384)
    assert torch.allclose(got.vectors, reference(TEXTS), atol=1e-4)
    assert got.tokens[-1] == MAX_TOKENS


def test_a_text_has_the_same_vector_whoever_shares_its_batch(model: Model) -> None:
    """More texts than one pass takes, of all lengths, in any order."""
    texts = [f"{'long ' * (n % 40)}text number {n}" for n in range(80)]
    together = model.embed(texts).vectors
    for n in (0, 39, 79):
        assert torch.allclose(together[n], model.embed([texts[n]]).vectors[0], atol=1e-5)


def test_the_vectors_are_the_same_in_the_fixed_shapes_of_a_gpu(model: Model) -> None:
    """To 1e-5, with padding in both directions and recorded work that is replayed."""
    assert isinstance(model, MiniLM)
    rows = [encoding.ids for encoding in model.tokenizer.encode_batch(TEXTS[:3])]
    fixed = Served(
        model._forward,
        device=torch.device("cpu"),
        buckets=Buckets(rows=(1, 8), lengths=(16, 32)),
        graphs=True,
    )
    fixed.warm_up(*_padded(rows))
    for few in (rows, rows[:1], rows[1:]):
        wanted = model._forward(*_padded(few))
        assert torch.allclose(fixed(*_padded(few))[0], wanted, atol=1e-5)


def test_like_texts_are_near_and_unlike_ones_far(model: Model) -> None:
    """It is the trained model, not any weights."""
    vectors = model.embed(["a cat sat on the mat", "a kitten on a rug", "quarterly tax report"])
    a, b, c = vectors.vectors
    assert a @ b > 0.5 > 0.2 > a @ c


def test_an_answer_has_openais_shape(model: Model) -> None:
    """List, indices, usage, and the model's name as the caller wrote it."""
    got = answer(model, {"input": ["one", "two"], "model": "minilm"})
    assert got["object"] == "list"
    assert got["model"] == "minilm"
    assert [item["index"] for item in got["data"]] == [0, 1]
    assert got["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert len(got["data"][0]["embedding"]) == 384


def test_base64_holds_the_same_numbers_as_little_endian_floats(model: Model) -> None:
    """As the openai client asks for them by default."""
    plain = answer(model, {"input": "one"})["data"][0]["embedding"]
    packed = answer(model, {"input": "one", "encoding_format": "base64"})["data"][0]["embedding"]
    assert list(struct.unpack("<384f", base64.b64decode(packed))) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("payload", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": {"text": "x"}}, "input"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "dimensions": 128}, "dimensions"),
        ([1], None),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(model: Model, payload: Any, param: str) -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidInput) as refusal:
        answer(model, payload)
    assert refusal.value.param == param


def test_a_field_that_is_null_is_one_that_is_left_out(model: Model) -> None:
    """As clients send it that fill in every field."""
    given = {"input": "one", "encoding_format": None, "dimensions": None}
    assert answer(model, given) == answer(model, {"input": "one"})


def test_a_refused_request_leaves_the_others_of_its_batch_alone(model: Model) -> None:
    """Each has its own place in the results."""
    first, second, third = answers(model, [{"input": "a"}, {"input": 5}, {"input": ["b", "c"]}])
    assert isinstance(second, InvalidInput)
    assert isinstance(first, dict)
    assert isinstance(third, dict)
    assert first["data"][0]["embedding"] == pytest.approx(
        model.embed(["a"]).vectors[0].tolist(), abs=1e-5
    )
    assert len(third["data"]) == 2


async def test_calls_at_once_run_as_one_batch_in_a_real_worker(model: Model) -> None:
    """Each gets its own vector, its own tokens and its share of the device."""
    settings = LocalSettings(app=APP, device="cpu", threads=1)
    backend = Local("home", settings, SystemClock())
    await backend.start()
    try:
        await until(lambda: backend.slots > 0, within_s=50)
        replies = await asyncio.gather(*(backend.invoke(call(f"text {n}")) for n in range(16)))
        for n, reply in enumerate(replies):
            vector = json.loads(reply.body)["data"][0]["embedding"]
            assert vector == pytest.approx(model.embed([f"text {n}"]).vectors[0].tolist(), abs=1e-4)
            assert reply.usage.input_tokens == 4
        shares = [(reply.usage.gpu_s or 0) / (reply.usage.exec_s or 1) for reply in replies]
        assert min(shares) < 0.5
        with pytest.raises(BackendError, match="no token numbers") as caught:
            await backend.invoke(call([1, 2]))
        assert caught.value.failure is FailureClass.INVALID
    finally:
        await backend.aclose()


def call(text: Any) -> Call:
    body = json.dumps({"input": text}).encode()
    return Call(id="c", model="minilm", task="embeddings", body=body)
