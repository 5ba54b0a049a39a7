"""Files of large inputs go by URL: put into a bucket, and fetched by whoever has the URL."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.credentials import Credentials as TheirCredentials

from adapters.buckets.sigv4 import Credentials, presigned
from adapters.buckets.urls import Bucket
from adapters.errors import BackendError, FailureClass, Ran
from adapters.replicate.api import ReplicateSettings
from adapters.replicate.backend import Replicate
from adapters.replicate.uploads import file_in, taken_apart
from adapters.settings import Secret
from adapters.types import Call
from gateway.clock import SystemClock
from tests.adapters.replicate.bucket import REGION, ObjectStore, expired, signature
from tests.adapters.replicate.cloud import Cloud
from tests.adapters.replicate.stage import cloud_running
from tests.adapters.scenarios import KEY
from tests.adapters.served import served

KEY_ID, SECRET = "AKIA4711", "s3-secret/+4711"
PICTURE = bytes(range(256)) * 1200


def uri(data: bytes = PICTURE, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


# --- the signature ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("path", ["/b/key", "/b/a prefix/key+1~x", "/b/naïve/東京.png"])
def test_a_url_is_signed_as_botocore_signs_it(method: str, path: str) -> None:
    ours = Credentials(key_id=Secret(KEY_ID), secret=Secret(SECRET), region=REGION)
    url = presigned(method, "http://h:9000", path, ours, at=1_700_000_000.0, seconds=600)
    given = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    theirs = TheirCredentials(KEY_ID, SECRET)
    wanted = signature(theirs, method, url.partition("?")[0], stamp="20231114T221320Z", seconds=600)
    assert given["X-Amz-Signature"] == wanted
    assert given["X-Amz-Date"] == "20231114T221320Z"
    assert SECRET not in url


# --- files in a body ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "data:", "data:image/png;base64," + "!" * 2000, "hello " * 500, uri(b"short")],
)
def test_what_is_no_large_file_stays_where_it_is(text: str) -> None:
    assert file_in(text) is None


def test_a_file_is_found_wherever_it_stands_and_taken_once() -> None:
    body = {"a": [{"b": uri()}], "c": uri(), "d": "data:text/plain," + "x%20" * 1000, "e": 1.5}
    _, files = taken_apart(json.dumps(body).encode())
    assert [(file.kind, len(file.data)) for file in files] == [
        ("image/png", len(PICTURE)),
        ("text/plain", 2000),
    ]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://bucket", "s3://BUCKET"),
        ("s3://bucket", "needs an endpoint"),
        ("s3://bucket?endpoint=http://h/path", "without a path"),
        ("s3://bucket?endpoint=ftp://h", "http"),
        ("s3://bucket?endpoint=http://h&reign=x", "no option reign"),
    ],
)
def test_a_place_that_cannot_be_is_refused_with_the_policy(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Bucket.from_url(url)


def test_a_place_without_its_keys_is_refused_with_the_policy() -> None:
    with pytest.raises(ValueError, match="payloads_key_id"):
        ReplicateSettings(api_key=Secret(KEY), model="o/n", payloads="s3://b?endpoint=http://h")


# --- a call -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[ObjectStore, str]]:
    store = ObjectStore(KEY_ID, SECRET)
    with served(store.app()) as url:
        yield store, url


@pytest.fixture(scope="module")
def cloud() -> Iterator[tuple[Cloud, str]]:
    with cloud_running() as running:
        yield running


@contextlib.asynccontextmanager
async def backend_of(
    cloud: tuple[Cloud, str], store: str, secret: str = SECRET
) -> AsyncIterator[Replicate]:
    settings = ReplicateSettings(
        api_key=Secret(KEY),
        deployment="o/n",
        base_url=f"{cloud[1]}/v1",
        payloads=f"s3://files/in?endpoint={store}&region={REGION}",
        payloads_key_id=Secret(KEY_ID),
        payloads_secret=Secret(secret),
    )
    backend = Replicate("rep", settings, SystemClock())
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


def a_call(echo: Any) -> Call:
    return Call(id="c1", model="m", task="infer", body=json.dumps({"echo": echo}).encode())


async def test_a_file_that_is_too_large_to_send_is_there_under_the_url_that_is_sent(
    cloud: tuple[Cloud, str], bucket: tuple[ObjectStore, str]
) -> None:
    async with backend_of(cloud, bucket[1]) as backend:
        reply = await backend.invoke(a_call({"image": uri(), "again": uri(), "n": 1}))
    heard = json.loads(reply.body)["echo"]
    assert heard["n"] == 1
    assert heard["image"] == heard["again"]
    fetched = httpx.get(heard["image"], trust_env=False)
    assert (fetched.status_code, fetched.content) == (200, PICTURE)
    assert fetched.headers["content-type"] == "image/png"
    assert bucket[0].puts == 1
    assert httpx.get(heard["image"] + "0", trust_env=False).status_code == 403
    assert not expired({"X-Amz-Date": "20991231T000000Z", "X-Amz-Expires": "1"})


async def test_what_fits_and_a_url_of_the_callers_own_pass_as_they_are(
    cloud: tuple[Cloud, str], bucket: tuple[ObjectStore, str]
) -> None:
    before = bucket[0].puts
    small = [uri(PICTURE[:3000]), "https://example.com/picture.png"]
    async with backend_of(cloud, bucket[1]) as backend:
        reply = await backend.invoke(a_call(small))
    assert json.loads(reply.body)["echo"] == small
    assert bucket[0].puts == before


@pytest.mark.parametrize(
    ("echo", "failure", "said"),
    [
        ("x" * 300_000, FailureClass.TOO_LARGE, "at most 256000 bytes of input beside its files"),
        ([1.5] * 100_000, FailureClass.TOO_LARGE, "this one has"),
    ],
)
async def test_what_is_large_without_a_file_is_refused_with_the_limit(
    cloud: tuple[Cloud, str],
    bucket: tuple[ObjectStore, str],
    echo: Any,
    failure: FailureClass,
    said: str,
) -> None:
    async with backend_of(cloud, bucket[1]) as backend:
        with pytest.raises(BackendError, match=said) as caught:
            await backend.invoke(a_call(echo))
    assert caught.value.failure is failure


@pytest.mark.parametrize(
    ("store", "secret", "failure"),
    [
        ("http://127.0.0.1:1", SECRET, FailureClass.UNREACHABLE),
        ("", "another", FailureClass.CREDENTIAL),
    ],
)
async def test_where_a_file_cannot_be_put_nothing_was_asked_of_the_platform(
    cloud: tuple[Cloud, str],
    bucket: tuple[ObjectStore, str],
    store: str,
    secret: str,
    failure: FailureClass,
) -> None:
    before = len(cloud[0].runs)
    async with backend_of(cloud, store or bucket[1], secret) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(uri()))
    assert caught.value.failure is failure
    assert caught.value.ran is Ran.NO
    assert secret not in caught.value.message + caught.value.detail
    assert len(cloud[0].runs) == before


async def test_a_body_that_nests_without_end_is_the_callers_fault(
    cloud: tuple[Cloud, str], bucket: tuple[ObjectStore, str]
) -> None:
    deep = b'{"echo":%b1%b}' % (b"[" * 150_000, b"]" * 150_000)
    call = Call(id="c1", model="m", task="infer", body=deep)
    async with backend_of(cloud, bucket[1]) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.invoke(call)
    assert caught.value.failure is FailureClass.INVALID
