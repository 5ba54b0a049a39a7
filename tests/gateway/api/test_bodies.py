"""Bodies as clients send them: compressed, in another alphabet's bytes, with a thing said twice."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.types import Reply
from gateway.api.requests.bodies import DecidingKeys, parse_json
from gateway.clock import FakeClock
from gateway.types import ApiError
from local_runtime.http.content_codings import decode_body, named_codings
from tests.gateway.assembled import POLICY, assembled

CHAT = b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'
EXPLAIN = "/v1/route/explain"
JSON_ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/infer/any"),
    ("POST", EXPLAIN),
    ("POST", "/admin/keys"),
    ("PUT", "/admin/policy"),
    ("POST", "/admin/policy/validate"),
]
SMALL = POLICY.replace('tls: "off",', 'tls: "off", max_body: 64 KiB,')


def bare_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "bare": bare_deflate,
}


# --- UTF-8 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"caf\xe9","messages":[{"role":"user","content":"hi"}]}',
        b'{"model":"chat","messages":[{"role":"user","content":"caf\xe9"}]}',
        b'{"model":"chat","messages":[{"role":"user","content":"hi"}],"\xe9":1}',
        b'{"model":"chat","messages":[{"role":"user","content":"hi"}],"unread":"\xff\xfe"}',
        b"\xff\xfe{\x00",
    ],
    ids=["model", "content", "key", "unread", "utf-16"],
)
async def test_bytes_that_are_no_utf_8_are_the_callers_fault(
    method: str, path: str, body: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        admin = gateway.key("root", admin=True)
        async with gateway.client(admin) as client:
            answer = await client.request(method, path, content=body)
            assert answer.status_code == 400
            assert "UTF-8" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/usage?user=%ff", "/usage?%e9=1", "/usage/%ff", "/v1/models/%ff"]
)
async def test_a_path_or_query_that_is_no_utf_8_is_answered_as_any_other(
    path: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.get(path)).status_code in (200, 400, 403, 404)


@pytest.mark.parametrize("name", ["x-spillgate-priority", "x-spillgate-max-price"])
async def test_a_header_in_another_alphabet_is_the_callers_fault(
    name: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {name.encode(): b"caf\xe9"}
        answer = await client.post("/v1/chat/completions", content=CHAT, headers=headers)
        assert (answer.status_code, answer.json()["error"]["param"].lower()) == (400, name)


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES[:-2])
@pytest.mark.parametrize(
    "body",
    [
        b'{"user":"a","model":"\\ud800","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"user":"a","model":"chat","messages":[{}],"n":%b}' % (b"9" * 5000),
        b'{"user":"a","model":"chat","messages":[{}],"max_tokens":1e999}',
        b'{"user":"a","tags":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        b'{"user":"a","model":"chat","messages":' + b"[" * 990 + b"]" * 990 + b"}",
        b'"\xed\xa0\x80"',
        b"null",
        b"[]",
        b"",
    ],
    ids=["surrogate", "long", "huge", "deep", "deeper", "cesu", "null", "list", "nothing"],
)
async def test_odd_json_is_never_a_failure_of_the_gateway(
    method: str, path: str, body: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {"authorization": f"Bearer {gateway.key('root', admin=True)}"}
        answer = await client.request(method, path, content=body, headers=headers)
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    ("text", "half"),
    [
        (b"\\ud83d", b"\\ud83d"),
        (b"\\uD83Dxx and more", b"\\uD83D"),
        (b"\\ud83d\\ude00 \\udc00", b"\\udc00"),
        (b"\\ud83d\\u0041", b"\\ud83d"),
        (b"\\\\\\ud83d", b"\\ud83d"),
    ],
    ids=["at the end", "in the middle", "after a whole one", "before another", "after a backslash"],
)
def test_half_a_character_is_named_with_its_place(text: bytes, half: bytes) -> None:
    body = b'{"model":"' + text + b'"}'
    with pytest.raises(ApiError) as caught:
        parse_json(body)
    where = body.rfind(half)
    assert f"byte {where} begins {half.decode()}, which is half" in caught.value.message


@pytest.mark.parametrize(
    "body", [b'{"a":"\\ud83d\\ude00', b'{"a":"\\\\ud83d"', b'{"a":"x', b"\\"], ids=range(4)
)
def test_what_is_wrong_otherwise_is_not_called_half_a_character(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(body)
    assert "half" not in caught.value.message


async def test_a_key_in_another_alphabet_is_no_key(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {b"authorization": b"Bearer sg-caf\xe9"}
        assert (await client.get("/v1/models", headers=headers)).status_code == 401


# --- said twice ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", EXPLAIN])
@pytest.mark.parametrize(
    ("more", "field"),
    [
        ('"MODEL":"far"', "model"),
        ('"model":"far"', "model"),
        ('"\\u006dodel":"far"', "model"),
        ('"Max_Tokens":1000000', "max_tokens"),
        ('"\u017ftream":true', "stream"),  # a long s is an s to readers that fold case
        ('"max_to\u212aens":9', "max_tokens"),  # and so is the Kelvin sign a k
        ('"n":1,"N":50', "n"),
        ('"messages":[]', "messages"),
    ],
)
async def test_a_key_that_decides_may_be_written_once_and_in_one_case(
    path: str, more: str, field: str, tmp_path: Path, clock: FakeClock
) -> None:
    """What is admitted here and what the backend runs are not two requests."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(path, content=CHAT[:-1] + b"," + more.encode() + b"}")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "ambiguous_field")
        assert error["param"] == field
        assert gateway.fake("home").calls == []


@pytest.mark.parametrize(
    "more",
    ['"User":"a"', '"user":"a","USER":"b"', '"model_name":"x"', '"meta":{"model":1,"Model":2}'],
)
async def test_a_key_that_decides_nothing_is_passed_on_as_it_came(
    more: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=b"{}"))
        body = CHAT[:-1] + b"," + more.encode() + b"}"
        answer = await client.post("/v1/chat/completions", content=body)
        assert answer.status_code == 200
        assert gateway.fake("home").calls[0].body == body


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["model", "Model", "MODEL", "n", "N", "x", "X", "mode", "\u017f", "a\nb"]),
        max_size=6,
    )
)
def test_what_is_taken_says_each_deciding_thing_once(names: list[str]) -> None:
    body = "{" + ",".join(f"{json.dumps(name)}:1" for name in names) + "}"
    deciding = [name for name in names if name.casefold() in ("model", "n")]
    clear = len(set(deciding)) == len(deciding) and all(n == n.casefold() for n in deciding)
    try:
        DecidingKeys(frozenset(("model", "n"))).check(body.encode())
    except ApiError:
        assert not clear
    else:
        assert clear


async def test_a_key_is_not_made_from_a_body_that_says_a_thing_twice(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {"authorization": f"Bearer {gateway.key('root', admin=True)}"}
        body = b'{"user":"bob","limits":{"concurrent":1,"concurrent":99}}'
        answer = await client.post("/admin/keys", content=body, headers=headers)
        assert answer.json()["error"]["code"] == "ambiguous_field"


@pytest.mark.parametrize("name", ["authorization", "x-spillgate-max-price", "content-encoding"])
async def test_a_header_that_decides_may_be_sent_once(
    name: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        key = client.headers["authorization"]
        headers = [
            ("authorization", key),
            (name, key),
            *([(name, "1")] if name != "authorization" else []),
        ]
        answer = await client.post("/v1/chat/completions", content=CHAT, headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (
            400,
            "ambiguous_header",
            name,
        )


# --- content codings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
        ("gzip, deflate", lambda body: zlib.compress(gzip.compress(body))),
        ("identity", bytes),
    ],
)
async def test_a_body_in_a_coding_reaches_the_backend_plain(
    coding: str, encode: Callable[[bytes], bytes], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=b"{}"))
        headers = {"content-encoding": coding}
        answer = await client.post("/v1/chat/completions", content=encode(CHAT), headers=headers)
        assert answer.status_code == 200
        assert gateway.fake("home").calls[0].body == CHAT


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "gzip, gzip, gzip", "caf\u00e9"])
async def test_a_coding_that_is_not_read_is_refused_by_name(
    coding: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {b"content-encoding": coding.encode("latin-1")}
        answer = await client.post("/v1/chat/completions", content=CHAT, headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (415, "unsupported_content_encoding")
        assert coding.rpartition("gzip, br")[2] in error["message"]
        assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("body", [b"", CHAT, gzip.compress(CHAT)[:-9], gzip.compress(CHAT) + b"x"])
async def test_a_body_that_is_not_what_its_coding_says_is_the_callers_fault(
    body: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {"content-encoding": "gzip"}
        answer = await client.post("/v1/chat/completions", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_body")


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        ("gzip", gzip.compress(bytes(50_000_000))),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(50_000_000)))),
        ("gzip", gzip.compress(bytes(40_000)) * 2),
    ],
    ids=["large", "twice", "members"],
)
async def test_a_small_body_that_is_a_large_one_is_too_large(
    coding: str, bomb: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, SMALL) as gateway, gateway.client() as client:
        headers = {"content-encoding": coding}
        answer = await client.post("/v1/chat/completions", content=bomb, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=2000), coding=st.sampled_from(list(ENCODERS)))
def test_whatever_was_coded_is_decoded(body: bytes, coding: str) -> None:
    named = named_codings(b"gzip" if coding == "gzip" else b"deflate")
    assert asyncio.run(decode_body(ENCODERS[coding](body), named, len(body))) == body
