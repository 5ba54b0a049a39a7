"""A picture goes through a whole gateway to a warm model, whose memory stands in the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.images import toy
from tests.e2e.observing import metric
from tests.examples.test_images import APP, body, picture, reference
from tests.live import LiveGateway
from tests.waiting import wait_until

POLICY = f"""
backends:
  home: {{kind: local, app: "{APP}", device: cpu, threads: 1, required: true}}
models:
  vit: {{task: infer, backends: [home]}}
"""


def test_a_picture_is_classified_and_what_the_model_occupies_is_told(tmp_path: Path) -> None:
    """The score of each label is the module's own; there is no GPU, so no figure of one."""
    with LiveGateway(tmp_path, POLICY, ready_within_s=90) as gateway:
        with gateway.client() as client:
            answer = client.post("/v1/infer/vit", json=body(picture(3), top=10))
            refused = client.post("/v1/infer/vit", json={**body(picture(3)), "width": 31})
        found = {one["label"]: one["score"] for one in answer.json()["labels"]}
        for index, score in enumerate(reference(toy().eval(), picture(3))):
            assert found[f"LABEL_{index}"] == pytest.approx(score, abs=1e-4)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "image"
        name = "spillgate_worker_resident_memory_bytes"
        wait_until(lambda: metric(gateway, name, backend="home") > 50e6)
        assert metric(gateway, "spillgate_worker_device_memory_bytes") == 0
