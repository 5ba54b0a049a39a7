"""Files that Replicate's client uploads are stored files, and inputs may name them by their URL."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from gateway.clock import FakeClock
from gateway.doors.replicate.files import by_reference
from tests.gateway.batches.gateways import input_of, with_batches
from tests.gateway.jobs.gateways import POLICY

AT = "/replicate/v1"


async def test_a_file_is_uploaded_named_in_an_input_and_deleted(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=POLICY) as gateway, gateway.client() as client:
        form = {"content": ("cat.png", b"abc", "image/png")}
        made = await client.post(f"{AT}/files", files=form)
        file = made.json()
        listed = (await client.get(f"{AT}/files")).json()["results"]
        assert (made.status_code, file["name"], file["size"]) == (201, "cat.png", 3)
        assert listed == [file]
        assert (await client.get(file["urls"]["get"])).json() == file

        given = {"image": file["urls"]["get"], "more": ["https://other.example/files/1"]}
        path = f"{AT}/models/spillgate/any/predictions"
        done = await client.post(path, json={"input": given}, headers={"Prefer": "wait"})
        called = json.loads(gateway.fake("home").calls[-1].body)
        assert done.json()["status"] == "succeeded"
        assert base64.b64decode(called["image"].partition(";base64,")[2]) == b"abc"
        assert called["more"] == given["more"]

        async with gateway.client(gateway.key("bob")) as bob:
            assert (await bob.get(file["urls"]["get"])).status_code == 404
            theirs = await bob.post(path, json={"input": given}, headers={"Prefer": "wait"})
            assert theirs.json()["status"] == "failed"
        assert (await client.delete(file["urls"]["get"])).status_code == 204
        assert (await client.get(file["urls"]["get"])).status_code == 404


async def test_the_input_of_a_batch_that_runs_is_not_deleted(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=POLICY) as gateway, gateway.client() as client:
        batch = await gateway.batch(client, input_of([{}]))
        file = f"{AT}/files/{batch['input_file_id']}"
        assert (await client.delete(file)).status_code == 409
        assert (await client.get(file)).status_code == 200


async def test_a_form_without_content_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    async with with_batches(tmp_path, clock, text=POLICY) as gateway, gateway.client() as client:
        refused = await client.post(f"{AT}/files", files={"file": ("a", b"abc")})
        assert refused.status_code == 422
        assert "content" in refused.json()["detail"]


def test_other_urls_stay_as_they_are() -> None:
    base = "https://gpus.example.com/replicate/v1"
    other = [f"{base}/files/", f"{base}/files/a/b", f"x{base}/files/a", 3, None]
    assert by_reference(other, base) == other
    assert by_reference({"a": [f"{base}/files/f"]}, base) == {"a": [{"$file": "f"}]}
