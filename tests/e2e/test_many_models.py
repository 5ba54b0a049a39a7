"""Three models on one worker with room for two, through a whole gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.e2e.observing import error_of, metric
from tests.live import LiveGateway
from tests.local_runtime.server.live_runtime import PROGRAMS
from tests.waiting import until, wait_until

POLICY = f"""
backends:
  home:
    kind: local
    app: "{PROGRAMS / "many.py"}"
    device: cpu
    threads: 1
    secret_env: {{GATE: "${{GATE}}"}}
    required: true
    memory: 2GiB
    models:
      ten: {{memory: 512MiB, pin: true}}
models:
  double: {{task: infer, backends: [home]}}
  triple: {{task: infer, backends: [home]}}
  ten: {{task: infer, backends: [home]}}
  broken: {{task: infer, backends: [home]}}
  slow: {{task: infer, backends: [home]}}
"""
CROWD = 40
"""More calls than the worker has slots."""


def cold_ms(timing: str) -> float:
    """Of a Server-Timing header."""
    parts = dict(part.strip().split(";dur=") for part in timing.split(","))
    return float(parts["cold"])


def test_three_models_are_served_by_one_worker_with_room_for_two(tmp_path: Path) -> None:
    """The pinned one stays, and the two others take turns beside it."""
    with LiveGateway(tmp_path, POLICY, ready_within_s=90, env={"GATE": "unused"}) as gateway:
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
        wait_until(lambda: metric(gateway, "spillgate_model_load_failures", **labels) == 1)
        assert metric(gateway, "spillgate_model_loads", **labels, model="ten") == 1
        assert metric(gateway, "spillgate_model_loads", **labels, model="double") == 2
        assert metric(gateway, "spillgate_model_evictions", **labels, model="double") == 2
        assert metric(gateway, "spillgate_model_resident_bytes", **labels, model="ten") == 1 << 29
        assert metric(gateway, "spillgate_model_resident_bytes", **labels) <= 2 << 30


async def test_a_crowd_that_waits_for_one_model_holds_up_no_call_of_another(
    tmp_path: Path,
) -> None:
    """Whoever waits for a load occupies no place, neither in the worker nor at the gateway."""
    gate = tmp_path / "gate"
    with LiveGateway(tmp_path, POLICY, ready_within_s=90, env={"GATE": str(gate)}) as gateway:
        limits = httpx.Limits(max_connections=None)
        async with gateway.async_client(limits=limits) as client:
            crowd = [
                asyncio.create_task(client.post("/v1/infer/slow", json={"x": number}))
                for number in range(CROWD)
            ]
            await until(gate.with_suffix(".begun").exists, "the load has begun")
            in_flight = "spillgate_in_flight"
            await until(lambda: metric(gateway, in_flight) == CROWD, "all calls are there")
            answer = await client.post("/v1/infer/ten", json={"x": 4})
            assert answer.json()["y"] == 41.0
            assert not any(task.done() for task in crowd)
            gate.touch()
            answers = await asyncio.gather(*crowd)
        assert [answer.json()["y"] for answer in answers] == [7.0 * n + 1 for n in range(CROWD)]
        assert metric(gateway, "spillgate_model_loads", model="slow") == 1
