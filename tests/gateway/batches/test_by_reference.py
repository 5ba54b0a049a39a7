"""Large inputs and results go by reference: a platform's inline limit is not the caller's."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from tests.gateway.batches.gateways import ENDED, input_of, with_batches
from tests.gateway.jobs.gateways import POLICY

TEXT = POLICY + 'files: {inline: 100, url: "https://gpus.example.com"}\n'
LARGE = b"x" * 5_000


async def test_a_small_file_is_put_into_the_input_and_a_large_one_goes_by_a_link(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        small = await gateway.upload(client, b"abc")
        large = await gateway.upload(client, LARGE)
        picture = {"picture": [{"$file": small}], "film": {"$file": large}}
        job = await gateway.post(client, input=picture)
        await gateway.until_ended(job["id"])
        called = json.loads(gateway.fake("home").calls[-1].body)
        data = called["picture"][0].partition(";base64,")
        assert base64.b64decode(data[2]) == b"abc"
        base, path, token = called["film"].partition("/v1/files/linked")
        assert base == "https://gpus.example.com"
        read = await client.get(path + token, headers={"authorization": ""})
        assert read.content == LARGE


async def test_a_call_on_its_connection_names_files_too(tmp_path: Path, clock: FakeClock) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        small = await gateway.upload(client, b"abc")
        answer = await client.post("/v1/infer/any", json={"a": {"$file": small}})
        assert answer.status_code == 200
        called = json.loads(gateway.fake("home").calls[-1].body)
        assert called["a"].endswith(base64.b64encode(b"abc").decode())


async def test_what_cannot_be_put_there_is_refused_and_nothing_is_asked(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=POLICY) as gateway:
        async with gateway.client() as alice:
            own = await gateway.upload(alice, b"a" * 2_000_000)
            far = await alice.post("/v1/infer/any", json={"a": {"$file": own}})
        async with gateway.client(gateway.key(user="bob")) as bob:
            theirs = await bob.post("/v1/infer/any", json={"a": {"$file": own}})
            odd = await bob.post("/v1/infer/any", json={"a": {"$file": own, "b": 1}})
            job = await gateway.post(bob, input={"a": {"$file": own}})
            await gateway.until_ended(job["id"])
            failed = (await bob.get(f"/v1/jobs/{job['id']}")).json()
        codes = [one.json()["error"]["code"] for one in (far, theirs, odd)]
        assert codes == ["file_not_reachable", "file_not_found", "invalid_field"]
        assert (failed["state"], failed["error"]["code"]) == ("failed", "file_not_found")
        assert failed["cost_usd"] == "0"
        assert gateway.fake("home").calls == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(json.dumps({"a": "x" * 400}).encode(), "application/json", id="JSON"),
        pytest.param(bytes(range(256)), "image/png", id="a picture"),
    ],
)
async def test_a_large_result_is_a_file_and_whole_for_who_waits_for_it(
    body: bytes, kind: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        reply = Reply(body=body, content_type=kind, usage=Usage())
        for _ in range(2):
            gateway.fake("home").tell(reply)
        job = await gateway.post(client)
        await gateway.until_ended(job["id"])
        output = (await client.get(f"/v1/jobs/{job['id']}")).json()["output"]
        content = await client.get(output["url"])
        waited = await client.post("/v1/infer/any", json={}, headers={"Prefer": "wait=20"})
        assert (output["bytes"], output["content_type"]) == (len(body), kind)
        assert content.content == body
        assert (waited.content, waited.headers["content-type"]) == (body, kind)


async def test_a_batchs_results_are_whole_however_large(tmp_path: Path, clock: FakeClock) -> None:
    body = json.dumps({"a": "x" * 400}).encode()
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=body, usage=Usage()))
        batch = await gateway.batch(client, input_of([{}]))
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        [line] = await gateway.lines(client, ended["output_file_id"])
        assert line["response"]["body"] == json.loads(body)
