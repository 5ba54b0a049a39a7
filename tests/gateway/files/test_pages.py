"""Files by HTTP: a form that comes in pieces, what each may see, and what is refused."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import running
from gateway.clock import FakeClock
from gateway.policy.sections.store import FileSettings
from tests.gateway.assembled import AssembledGateway
from tests.gateway.assembled import build as built
from tests.gateway.files.places import files_in

SMALL = FileSettings(max=2_000, per_user=5_000)


@contextlib.asynccontextmanager
async def with_files(
    folder: Path, clock: FakeClock, settings: FileSettings = SMALL
) -> AsyncIterator[AssembledGateway]:
    inner = built(folder, clock)
    inner.stored_files = files_in(folder, clock, lambda: settings)
    async with running(inner) as gateway:
        yield AssembledGateway(gateway, clock)


async def upload(
    client: httpx.AsyncClient, data: bytes = b'{"a":1}\n', purpose: str = "batch", **more: Any
) -> httpx.Response:
    form = {"purpose": purpose, **more}
    kind = "application/jsonl"
    return await client.post("/v1/files", data=form, files={"file": ("in.jsonl", data, kind)})


async def test_a_file_is_stored_listed_read_and_deleted(tmp_path: Path, clock: FakeClock) -> None:
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        stored = (await upload(client)).json()
        shown = (await client.get(f"/v1/files/{stored['id']}")).json()
        listed = (await client.get("/v1/files?purpose=batch&limit=5")).json()
        content = await client.get(f"/v1/files/{stored['id']}/content")
        deleted = (await client.delete(f"/v1/files/{stored['id']}")).json()
        gone = await client.get(f"/v1/files/{stored['id']}")

        assert stored["id"].startswith("file_")
        assert (stored["bytes"], stored["filename"]) == (8, "in.jsonl")
        assert (stored["object"], stored["purpose"]) == ("file", "batch")
        assert shown == stored
        assert [one["id"] for one in listed["data"]] == [stored["id"]]
        assert listed["has_more"] is False
        assert content.content == b'{"a":1}\n'
        assert content.headers["content-type"] == "application/jsonl"
        assert deleted == {"id": stored["id"], "object": "file", "deleted": True}
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "file_not_found")
        assert not [one for one in (tmp_path / "files").rglob("*") if one.is_file()]


async def test_another_users_file_is_not_there_but_for_an_admin(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_files(tmp_path, clock) as gateway:
        async with gateway.client() as alice:
            id = (await upload(alice)).json()["id"]
        async with gateway.client(gateway.key(user="bob")) as bob:
            assert (await bob.get(f"/v1/files/{id}/content")).status_code == 404
            assert (await bob.delete(f"/v1/files/{id}")).status_code == 404
            assert (await bob.get("/v1/files")).json()["data"] == []
        async with gateway.client(gateway.key(user="root", admin=True)) as admin:
            assert (await admin.get(f"/v1/files/{id}/content")).status_code == 200


async def test_pages_of_a_list_stay_as_they_are(tmp_path: Path, clock: FakeClock) -> None:
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        ids = [(await upload(client)).json()["id"] for _ in range(3)]
        first = (await client.get("/v1/files?limit=2")).json()
        await upload(client)
        rest = (await client.get(f"/v1/files?limit=2&after={first['last_id']}")).json()
        oldest = (await client.get("/v1/files?order=asc&limit=1")).json()
        assert [one["id"] for one in first["data"]] == [ids[2], ids[1]]
        assert (first["has_more"], rest["has_more"]) == (True, False)
        assert [one["id"] for one in rest["data"]] == [ids[0]]
        assert oldest["data"][0]["id"] == ids[0]


async def test_a_file_stays_as_long_as_its_form_says(tmp_path: Path, clock: FakeClock) -> None:
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        more: dict[str, Any] = {"expires_after[seconds]": "3600"}
        stored = (await upload(client, **more)).json()
        assert stored["expires_at"] - stored["created_at"] == 3600
        await clock.advance(3601)
        assert (await client.get(f"/v1/files/{stored['id']}")).status_code == 404


REFUSED = [
    pytest.param({"data": b"x" * 2_001}, 413, "file_too_large", "file", id="too large"),
    pytest.param({"purpose": "fun"}, 400, "invalid_field", "purpose", id="unknown purpose"),
    pytest.param(
        {"expires_after[seconds]": "5"}, 400, "invalid_field", "expires_after", id="too short"
    ),
]


@pytest.mark.parametrize(("given", "status", "code", "param"), REFUSED)
async def test_what_cannot_be_stored_is_refused_and_leaves_nothing(
    given: dict[str, Any], status: int, code: str, param: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await upload(client, **given)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
        assert (await client.get("/v1/files")).json()["data"] == []
        assert not [one for one in (tmp_path / "files").rglob("*") if one.is_file()]


async def test_a_users_files_together_are_bounded(tmp_path: Path, clock: FakeClock) -> None:
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        ids = [(await upload(client, b"x" * 1_500)).json()["id"] for _ in range(3)]
        full = await upload(client, b"x" * 1_500)
        await client.delete(f"/v1/files/{ids[0]}")
        again = await upload(client, b"x" * 1_500)
        assert (full.status_code, full.json()["error"]["code"]) == (413, "files_full")
        assert again.status_code == 200


async def test_what_comes_without_its_length_has_the_room_of_the_largest(
    tmp_path: Path, clock: FakeClock
) -> None:
    """3,200 of 5,000 bytes are taken: another file may have 2,000."""
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        for _ in range(2):
            assert (await upload(client, b"x" * 1_600)).status_code == 200
        sent = httpx.Request(
            "POST",
            "http://spillgate/v1/files",
            data={"purpose": "batch"},
            files={"file": ("in.jsonl", b"x" * 100)},
        )
        body = sent.read()

        async def pieces() -> AsyncIterator[bytes]:
            yield body

        headers = {"content-type": sent.headers["content-type"]}
        full = await client.post("/v1/files", content=pieces(), headers=headers)
        assert (full.status_code, full.json()["error"]["code"]) == (413, "files_full")


FORMS = [
    pytest.param("text/plain", b"x", 415, id="no form"),
    pytest.param("multipart/form-data", b"x", 415, id="no boundary"),
    pytest.param("multipart/form-data; boundary=b", b"junk", 400, id="junk"),
    pytest.param(
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n',
        400,
        id="no file",
    ),
    pytest.param(
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
        400,
        id="broken off",
    ),
    pytest.param(
        "multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 400, id="no name"
    ),
]


@pytest.mark.parametrize(("kind", "body", "status"), FORMS)
async def test_a_form_that_cannot_be_read_is_refused(
    kind: str, body: bytes, status: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post("/v1/files", content=body, headers={"content-type": kind})
        assert answer.status_code == status, answer.text
        assert (await client.get("/v1/files")).json()["data"] == []


async def test_a_link_needs_no_key_and_ends(tmp_path: Path, clock: FakeClock) -> None:
    async with with_files(tmp_path, clock) as gateway, gateway.client() as client:
        id = (await upload(client)).json()["id"]
        files = gateway.inner.stored_files
        assert files is not None
        stored = await files.records.get(id)
        assert stored is not None
        link = await files.link(stored)
        anybody = {"authorization": ""}
        assert (await client.get(link, headers=anybody)).content == b'{"a":1}\n'
        wrong = await client.get(link[:-1] + "_", headers=anybody)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "link_expired")
        await clock.advance(3601)
        assert (await client.get(link, headers=anybody)).status_code == 404
