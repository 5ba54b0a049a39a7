"""An output that lies in a file because it is large comes whole through every door."""

from __future__ import annotations

import json
from pathlib import Path

from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from tests.gateway.batches.gateways import with_batches
from tests.gateway.jobs.gateways import POLICY

TEXT = POLICY + 'files: {inline: 100, url: "https://gpus.example.com"}\n'
OUTPUT = ["x" * 400, "y"]


async def test_a_large_output_comes_whole(tmp_path: Path, clock: FakeClock) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        reply = Reply(body=json.dumps(OUTPUT).encode(), usage=Usage())
        gateway.fake("home").tell(reply, reply, reply)
        run = (await client.post("/runpod/v2/any/runsync", json={"input": {}})).json()
        again = (await client.get(f"/runpod/v2/any/status/{run['id']}")).json()
        pieces = (await client.get(f"/runpod/v2/any/stream/{run['id']}")).json()["stream"]
        path = "/replicate/v1/models/spillgate/any/predictions"
        prediction = await client.post(path, json={"input": {}}, headers={"Prefer": "wait"})
        seen = (await client.get(prediction.json()["urls"]["get"])).json()
        followed = (await client.get(prediction.json()["urls"]["stream"])).text
        called = await client.post("/banana/any", json={})
        assert [run["output"], again["output"], seen["output"], called.json()] == [OUTPUT] * 4
        assert [piece["output"] for piece in pieces] == OUTPUT
        assert followed.count("event: output") == 2
