"""An app of several models by itself: named in the body, shown in the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import wait_until


def test_the_body_names_the_model_and_the_metrics_tell_of_each() -> None:
    runtime = LiveRuntime("many.py", "--memory", "2GiB", "--device", "cpu", "--threads", "1")
    with runtime.started():
        wait_until(lambda: runtime.answers("/readyz"), within_s=60)
        with runtime.client as client:
            answers = [
                client.post("/", json={"x": 4, "model": name}).json()
                for name in ("double", "triple", "late")
            ]
            unknown = client.post("/", json={"x": 4, "model": "gpt"})
            broken = client.post("/", json={"x": 4, "model": "broken"})
            events = client.post("/stream", json={"to": 2}, headers={"Accept": "text/event-stream"})
        assert [answer["y"] for answer in answers] == [9.0, 13.0, 21.0]
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unsupported")
        assert (broken.status_code, broken.json()["error"]["code"]) == (503, "loading")
        assert events.text.split("\n\n")[:3] == ["data: [1.0]", "data: [3.0]", "data: [DONE]"]

        def metrics() -> str:
            with runtime.client as client:
                return client.get("/metrics").text

        labels = '{model="broken",worker="worker-0"}'
        wait_until(lambda: f"runtime_model_load_failures{labels} 1.0" in metrics())
        assert 'runtime_model_loads{model="late",worker="worker-0"} 1.0' in metrics()
        assert f"runtime_model_resident_bytes{labels.replace('broken', 'double')}" in metrics()


def test_a_background_job_names_its_model_in_the_body_and_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the route does not have is refused in place of an id."""
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    runtime = LiveRuntime("many.py", "--memory", "2GiB", "--device", "cpu", "--threads", "1")
    with runtime.started():
        wait_until(lambda: runtime.answers("/readyz"), within_s=60)
        with runtime.client as client:
            refused = [client.post("/later", json=body) for body in ({"model": "ten"}, {}, 3)]
            good, bad, slow = (
                client.post("/later", json={"x": 4, "model": name}).json()["job_id"]
                for name in ("double", "broken", "slow")
            )
            ended = client.post(f"/_k/jobs/{slow}/cancel").json()

        def job(id: str) -> dict[str, Any]:
            with runtime.client as client:
                return dict(client.get(f"/_k/jobs/{id}").json())

        wait_until(lambda: job(good)["status"] == "completed")
        wait_until(lambda: job(bad)["status"] == "failed")
        assert [answer.status_code for answer in refused] == [404] * 3
        assert refused[0].json()["error"]["message"] == "/later has no model 'ten'"
        assert job(good)["output"] == {"y": [9.0], "model": "double"}
        assert "the model broken could not be loaded (OSError)" in job(bad)["error"]
        assert ended["status"] == "cancelled"
