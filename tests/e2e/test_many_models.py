"""Three models on one worker with room for two, through a whole gateway."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.observing import error_of, metric
from tests.live import LiveGateway
from tests.local_runtime.live_runtime import PROGRAMS, until

POLICY = f"""
backends:
  home:
    kind: local
    app: "{PROGRAMS / "many.py"}"
    device: cpu
    threads: 1
    required: true
    memory: 2GiB
    models:
      ten: {{memory: 512MiB, pin: true}}
models:
  double: {{task: infer, backends: [home]}}
  triple: {{task: infer, backends: [home]}}
  ten: {{task: infer, backends: [home]}}
  broken: {{task: infer, backends: [home]}}
"""


def cold_ms(timing: str) -> float:
    """Of a Server-Timing header."""
    parts = dict(part.strip().split(";dur=") for part in timing.split(","))
    return float(parts["cold"])


def test_three_models_are_served_by_one_worker_with_room_for_two(tmp_path: Path) -> None:
    """The pinned one stays, and the two others take turns beside it."""
    with LiveGateway(tmp_path, POLICY, ready_within_s=90) as gateway:
        waited: dict[str, list[float]] = {"double": [], "triple": [], "ten": []}
        with gateway.client() as client:
            for _ in range(2):
                for name, wanted in (("double", 9.0), ("triple", 13.0), ("ten", 41.0)):
                    answer = client.post(f"/v1/infer/{name}", json={"x": 4})
                    assert (answer.status_code, answer.json()["y"]) == (200, wanted), answer.text
                    assert answer.json()["model"] == name
                    waited[name].append(cold_ms(answer.headers["Server-Timing"]))
            refused = client.post("/v1/infer/broken", json={"x": 4})
        assert all(seconds > 0 for seconds in waited["double"] + waited["triple"])
        assert waited["ten"] == [0.0, 0.0]
        assert error_of(refused)[0] == 503
        assert (
            "the model broken could not be loaded (OSError)" in refused.json()["error"]["message"]
        )
        labels = {"backend": "home", "worker": "home-0"}
        until(lambda: metric(gateway, "spillgate_model_load_failures", **labels) == 1)
        assert metric(gateway, "spillgate_model_loads", **labels, model="ten") == 1
        assert metric(gateway, "spillgate_model_loads", **labels, model="double") == 2
        assert metric(gateway, "spillgate_model_evictions", **labels, model="double") == 2
        assert metric(gateway, "spillgate_model_resident_bytes", **labels, model="ten") == 1 << 29
        assert metric(gateway, "spillgate_model_resident_bytes", **labels) <= 2 << 30
