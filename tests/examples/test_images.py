"""The images example: what the model says is what is answered, alone and in company."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.errors import BackendError, FailureClass
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import Call
from examples.images import Classifier, Normal, answers, load, toy
from gateway.clock import SystemClock
from local_runtime import InvalidInput
from tests.waiting import until

APP = str(Path(__file__).parents[2] / "examples" / "images.py") + ":app"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> Classifier:
    return load("cpu")


def picture(seed: int, width: int = 32, height: int = 32) -> torch.Tensor:
    """(height, width, 3) bytes."""
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), generator=source).to(torch.uint8)


def body(pixels: torch.Tensor, **more: Any) -> dict[str, Any]:
    height, width, _ = pixels.shape
    image = base64.b64encode(pixels.numpy().tobytes()).decode()
    return {"image": image, "width": width, "height": height, **more}


def reference(module: Any, pixels: torch.Tensor) -> list[float]:
    """By transformers alone: pixels from -1 to 1, one image at a time, without our padding."""
    values = pixels.permute(2, 0, 1).unsqueeze(0).float() / 255 * 2 - 1
    with torch.inference_mode():
        scores: list[float] = module(pixel_values=values).logits.softmax(-1)[0].tolist()
    return scores


def by_label(answer: Any) -> dict[str, float]:
    assert isinstance(answer, dict)
    return {one["label"]: one["score"] for one in answer["labels"]}


def test_the_scores_are_those_of_the_module_itself(model: Classifier) -> None:
    """To 1e-5, three images in one pass, every label of each."""
    pictures = [picture(seed) for seed in range(3)]
    module = toy().eval()
    got = answers(model, [body(each, top=10) for each in pictures])
    for each, answer in zip(pictures, got, strict=True):
        wanted = reference(module, each)
        assert list(by_label(answer).values()) == sorted(by_label(answer).values(), reverse=True)
        for index, score in enumerate(wanted):
            assert by_label(answer)[f"LABEL_{index}"] == pytest.approx(score, abs=1e-5)


def test_a_model_of_a_folder_is_served_with_its_own_labels_and_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved and loaded by transformers, normalised by us as its own file says."""
    module = toy().eval()
    module.config.id2label = {index: f"thing {index}" for index in range(10)}
    with torch.no_grad():
        module.classifier.bias += torch.arange(10.0)
    module.save_pretrained(tmp_path)
    colours = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "do_resize": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(colours))
    monkeypatch.setenv("SPILLGATE_IMAGE_MODEL", str(tmp_path))
    (got,) = answers(load("cpu"), [body(picture(5), top=10)])
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    values = ((picture(5).float() / 255 - mean) / std).permute(2, 0, 1).unsqueeze(0)
    with torch.inference_mode():
        wanted = module(pixel_values=values).logits.softmax(-1)[0]
    for index in range(10):
        assert by_label(got)[f"thing {index}"] == pytest.approx(float(wanted[index]), abs=1e-5)


def test_a_folder_without_weights_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy().config.save_pretrained(tmp_path)
    monkeypatch.setenv("SPILLGATE_IMAGE_MODEL", str(tmp_path))
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load("cpu")


def test_a_picture_of_another_size_is_scaled_and_keeps_its_colours(model: Classifier) -> None:
    """One colour stays that colour at any size, on every channel."""
    flat = torch.tensor([10, 120, 250], dtype=torch.uint8).expand(48, 100, 3).contiguous()
    small, large = flat[:32, :32].contiguous(), flat
    first, second = answers(model, [body(small), body(large)])
    assert by_label(first) == pytest.approx(by_label(second))


def test_an_image_has_the_same_scores_whoever_shares_its_batch(model: Classifier) -> None:
    alone = by_label(answers(model, [body(picture(7))])[0])
    company = answers(model, [body(picture(seed)) for seed in range(20)])
    assert by_label(company[7]) == pytest.approx(alone, abs=1e-5)


def test_five_labels_are_answered_unless_others_are_asked_for(model: Classifier) -> None:
    sizes = [len(by_label(answers(model, [body(picture(1), **more)])[0])) for more in TOPS]
    assert sizes == [5, 1, 10, 1]


TOPS: list[dict[str, int]] = [{}, {"top": 1}, {"top": 99}, {"top": -3}]

GOOD = body(picture(0, 2, 2))


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ([], "object"),
        ({"image": "AAAA"}, "width"),
        ({**GOOD, "image": "%%%"}, "base64"),
        ({**GOOD, "image": "ü"}, "base64"),
        ({**GOOD, "image": "AAAA"}, "holds 3 bytes; 2 x 2 RGB takes 12"),
        ({**GOOD, "width": 0}, "1 to 8192"),
        ({**GOOD, "width": -2, "height": -2}, "1 to 8192"),
        ({**GOOD, "height": 10**9}, "1 to 8192"),
        ({**GOOD, "top": "all"}, "top"),
    ],
)
def test_what_is_no_picture_is_refused_and_its_neighbour_answered(
    model: Classifier, payload: Any, told: str
) -> None:
    first, refusal, last = answers(model, [GOOD, payload, GOOD])
    assert isinstance(refusal, InvalidInput)
    assert told in refusal.message
    assert by_label(first) == pytest.approx(by_label(last))


async def test_calls_at_once_run_as_one_batch_in_a_real_worker() -> None:
    """Each gets its own labels and its share of the device; a wrong one is refused alone."""
    settings = LocalSettings(app=APP, device="cpu", threads=1)
    backend = Local("home", settings, SystemClock())
    await backend.start()
    try:
        await until(lambda: backend.slots > 0, within_s=50)
        replies = await asyncio.gather(*(backend.invoke(call(n)) for n in range(16)))
        module = toy().eval()
        for n, reply in enumerate(replies):
            got = by_label(json.loads(reply.body))
            wanted = reference(module, picture(n))
            assert got["LABEL_3"] == pytest.approx(wanted[3], abs=1e-4)
        shares = [(reply.usage.gpu_s or 0) / (reply.usage.exec_s or 1) for reply in replies]
        assert min(shares) < 0.5
        with pytest.raises(BackendError, match="1 to 8192") as caught:
            await backend.invoke(
                Call(
                    id="w", model="m", task="infer", body=json.dumps({**GOOD, "width": 0}).encode()
                )
            )
        assert caught.value.failure is FailureClass.INVALID
    finally:
        await backend.aclose()


def call(seed: int) -> Call:
    data = json.dumps(body(picture(seed), top=10)).encode()
    return Call(id=f"c{seed}", model="m", task="infer", body=data)


def test_the_usual_colours_are_from_minus_one_to_one() -> None:
    assert Normal().image_mean == Normal().image_std == (0.5, 0.5, 0.5)
