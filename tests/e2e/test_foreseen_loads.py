"""Two models that fit one at a time, and an overflow: the router knows what a load would take."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.observing import metric
from tests.live import LiveGateway
from tests.local_runtime.server.live_runtime import PROGRAMS
from tests.waiting import until

POLICY = f"""
backends:
  home:
    kind: local
    app: "{PROGRAMS / "many.py"}"
    device: cpu
    threads: 1
    secret_env: {{GATE: "${{GATE}}"}}
    required: true
    price: here
    memory: 24GiB
    models:
      double: {{memory: 20GiB}}
      slow: {{memory: 20GiB}}
  burst: {{kind: local, app: "{PROGRAMS / "steady.py"}", device: cpu, required: true, price: flex}}
models:
  double: {{task: infer, backends: [home, burst], slo: 5ms}}  # a load of slow takes 10 at least
  slow: {{task: infer, backends: [home, burst], slo: 5ms}}
  broken: {{task: infer, backends: [home, burst], slo: 60s}}
routes:
  - {{name: patient, when: {{priority: low}}, use: [home, burst], slo: 120s}}
  - {{name: hurried, use: [home, burst]}}
prices:
  here: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
  flex: {{per_second: 0.001, as_of: 2026-11-01, source: test}}
"""
BODY = {"x": 4, "echo": "from the overflow"}
PATIENT = {"X-Spillgate-Priority": "low"}


class Caller:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, model: str, headers: dict[str, str] | None = None) -> tuple[str, str]:
        """The backend that answered, and the reason."""
        answer = await self._client.post(f"/v1/infer/{model}", json=BODY, headers=headers)
        assert answer.status_code == 200, answer.text
        head = answer.headers
        from_home = isinstance(answer.json(), dict)
        assert from_home == (head["x-spillgate-backend"] == "home")
        return head["x-spillgate-backend"], head["x-spillgate-reason"]

    async def explain(self, model: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        body = {"model": model, **BODY}
        told = await self._client.post("/v1/route/explain", json=body, headers=headers)
        found: dict[str, Any] = told.json()
        return found

    async def load_s(self, model: str) -> float:
        """The seconds of load that are foreseen at home."""
        told = await self.explain(model)
        (gateway,) = (row for row in told["candidates"] if row["backend"] == "home")
        return float(gateway["predicted_load_seconds"])

    async def usage(self, model: str, headers: dict[str, str]) -> dict[str, Any]:
        answer = await self._client.post(f"/v1/infer/{model}", json=BODY, headers=headers)
        row = await self._client.get(f"/usage/{answer.headers['x-request-id']}")
        found: dict[str, Any] = row.json()
        return found


async def test_a_hurried_call_goes_elsewhere_and_a_patient_one_waits_for_the_load(
    tmp_path: Path,
) -> None:
    """Before a load was seen, by the model's size; afterwards, by what it took."""
    gate = tmp_path / "gate"
    with LiveGateway(tmp_path, POLICY, ready_within_s=120, env={"GATE": str(gate)}) as gateway:
        async with gateway.async_client() as client:
            caller = Caller(client)
            assert await caller.load_s("double") == 20.0
            assert await caller.ask("double") == ("burst", "SPILL_WARM")
            assert metric(gateway, "spillgate_model_loads", model="double") == 0
            assert await caller.ask("double", PATIENT) == ("home", "RES_LOAD")
            assert await caller.load_s("double") == 0.0
            assert await caller.ask("double") == ("home", "RES_FREE")

            waiting = asyncio.create_task(caller.usage("slow", PATIENT))
            await until(gate.with_suffix(".begun").exists, "the load has begun")
            gate.touch()
            row = await waiting
            assert (row["backend"], row["reason"]) == ("home", "RES_LOAD")
            took = metric(gateway, "spillgate_model_load_seconds", model="slow")
            assert row["cold_seconds"] >= took
            assert row["gpu_seconds"] <= row["exec_seconds"], "the load is none of it"
            assert await caller.ask("slow") == ("home", "RES_FREE")

            assert (await caller.ask("double", PATIENT))[0] == "home"
            assert await caller.load_s("slow") == round(took, 6)
            assert await caller.ask("slow") == ("burst", "SPILL_WARM")
            assert await caller.ask("slow", PATIENT) == ("home", "RES_LOAD")


async def test_a_model_that_could_not_be_loaded_is_not_tried_again_by_each_call(
    tmp_path: Path,
) -> None:
    """The first call is refused there and answered elsewhere; those after it go there at once."""
    with LiveGateway(tmp_path, POLICY, ready_within_s=120, env={"GATE": "unused"}) as gateway:
        async with gateway.async_client() as client:
            caller = Caller(client)

            async def refused_there() -> bool:
                await caller.ask("broken")
                told = await caller.explain("broken")
                return {"backend": "home", "reason": "load_failed"} in told["refused"]

            assert await caller.ask("broken") == ("burst", "FAILOVER")
            await until(refused_there)
            failures = metric(gateway, "spillgate_model_load_failures", model="broken")
            assert failures >= 1
