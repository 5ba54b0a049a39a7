"""Image classification: a vision transformer, or any image classifier of the Hugging Face hub.

    backends:
      home: {kind: local, app: examples/images.py:app}

Set SPILLGATE_IMAGE_MODEL to a hub id (google/vit-base-patch16-224, say) or a folder to serve a real
model. Without it a small ViT with random weights is made in memory, whose labels mean nothing: the
path is the real one, and nothing is downloaded.

A request is {"image": base64 of the pixels, "width": w, "height": h, "top": 5}, where the pixels
are w x h x 3 bytes, RGB, row by row: ``Image.open(file).convert("RGB").tobytes()`` of Pillow.
The answer is {"labels": [{"label", "score"}, ...]}, best first.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification
from transformers.utils import cached_file

from local_runtime import Batch, InvalidInput, Request, Runtime
from local_runtime.pytorch import Buckets, Served, device_of, doubling

MAX_SIDE = 8192
BATCH = 32


class Asked(msgspec.Struct, frozen=True):
    """The body of a request."""

    image: str
    width: int
    height: int
    top: int = 5


class Normal(msgspec.Struct, frozen=True):
    """What a model's preprocessor_config.json says of its colours, each from 0 to 1."""

    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class Classifier:
    """A module from transformers, made ready for batches of images."""

    def __init__(self, module: Any, normal: Normal, device: torch.device) -> None:
        size, labels = module.config.image_size, module.config.id2label
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.labels = [str(labels[index]) for index in range(len(labels))]
        mean, std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) * 255
            for values in (normal.image_mean, normal.image_std)
        )

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            logits = module(pixel_values=(pixels.float() - mean) / std).logits
            return logits.float().softmax(-1)

        self._served = Served(forward, device=device, buckets=Buckets(rows=doubling(BATCH)))
        self._served.warm_up(torch.zeros(1, 3, *self.size, dtype=torch.uint8))

    def scores(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Images (3, height, width), uint8, as ``fitted`` makes them -> (images, labels). They
        cross to the device as bytes, a quarter of what floats would be."""
        (scores,) = self._served(torch.stack(tuple(images)))
        return scores

    def fitted(self, asked: Asked) -> torch.Tensor:
        """The picture in the size that the model takes. Raises InvalidInput."""
        pixels = torch.frombuffer(bytearray(_bytes(asked)), dtype=torch.uint8)
        picture = pixels.view(1, asked.height, asked.width, 3).permute(0, 3, 1, 2)
        if (asked.height, asked.width) != self.size:
            scaled = F.interpolate(picture.float(), self.size, mode="bilinear", antialias=True)
            picture = scaled.round().clamp(0, 255).to(torch.uint8)
        return picture[0]


def _bytes(asked: Asked) -> bytes:
    if not (1 <= asked.width <= MAX_SIDE and 1 <= asked.height <= MAX_SIDE):
        raise InvalidInput(f"width and height are 1 to {MAX_SIDE}", param="width")
    try:
        data = base64.b64decode(asked.image, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("image must be base64", param="image") from None
    wanted = asked.width * asked.height * 3
    if len(data) != wanted:
        text = f"image holds {len(data)} bytes; {asked.width} x {asked.height} RGB takes {wanted}"
        raise InvalidInput(text, param="image")
    return data


def load(device: str | None = None) -> Classifier:
    """The model on ``device``, else on the one that the runtime names. Raises OSError for a
    model that is not there."""
    chosen, name = device_of(device), os.environ.get("SPILLGATE_IMAGE_MODEL")
    if name is None:
        return Classifier(toy().to(chosen).eval(), Normal(), chosen)
    # transformers maps the files itself, and knows by which names older ones call the weights.
    module = AutoModelForImageClassification.from_pretrained(name).to(chosen).eval()
    told = cached_file(
        name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
    )
    normal = msgspec.json.decode(Path(told).read_bytes(), type=Normal) if told else Normal()
    return Classifier(module, normal, chosen)


def toy() -> Any:
    """A small ViT (https://arxiv.org/abs/2010.11929) with the same random weights each time."""
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        num_labels=10,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ViTForImageClassification(config)


def answers(model: Classifier, payloads: list[Any]) -> list[dict[str, Any] | InvalidInput]:
    """Many requests in one pass; one that is refused has its refusal in its place."""
    asked = [_checked(model, payload) for payload in payloads]
    images = [each[1] for each in asked if isinstance(each, tuple)]
    scores = iter(model.scores(images) if images else ())
    return [
        each if isinstance(each, InvalidInput) else _best(model, next(scores), each[0].top)
        for each in asked
    ]


def _checked(model: Classifier, payload: Any) -> tuple[Asked, torch.Tensor] | InvalidInput:
    try:
        asked = msgspec.convert(payload, Asked)
        return asked, model.fitted(asked)
    except msgspec.ValidationError as error:
        return InvalidInput(str(error))
    except InvalidInput as refusal:
        return refusal


def _best(model: Classifier, scores: torch.Tensor, top: int) -> dict[str, Any]:
    found = scores.topk(max(1, min(top, len(model.labels))))
    pairs = zip(found.values.tolist(), found.indices.tolist(), strict=True)
    return {"labels": [{"label": model.labels[index], "score": score} for score, index in pairs]}


# --- the app ------------------------------------------------------------------------------------

app = Runtime("images")
WARMUP = {"image": base64.b64encode(bytes(12)).decode(), "width": 2, "height": 2}


@app.init
def init() -> dict[str, Any]:
    return {"model": load()}


@app.handler("/", batch=Batch(max_size=BATCH, max_wait_s=0.005), timeout=60, warmup=WARMUP)
def classify(
    context: dict[str, Any], requests: list[Request]
) -> list[dict[str, Any] | InvalidInput]:
    return answers(context["model"], [request.json for request in requests])
