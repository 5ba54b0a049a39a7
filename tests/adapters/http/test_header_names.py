"""A header is sent once, whatever the case of its name: what is said last is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import load_kind
from adapters.errors import BackendError
from adapters.http.api import Api, merged
from adapters.openai.backend import OpenAICompatible, OpenAISettings
from adapters.settings import HttpSettings, Secret
from adapters.types import Call
from benchmarks.platforms import PLATFORMS, call_of
from gateway.clock import FakeClock
from tests.adapters.servers import RawServer
from tests.adapters.test_every_kind import started

HEADERS = st.dictionaries(
    st.sampled_from(["A", "a", "X-b", "x-B", "X-B"]), st.text("012", max_size=2)
)


@given(st.lists(HEADERS, max_size=4))
def test_each_name_is_there_once_with_what_was_said_last(parts: list[dict[str, str]]) -> None:
    said = [(name.lower(), value) for part in parts for name, value in part.items()]
    found = [(name.lower(), value) for name, value in merged(*parts).items()]
    assert sorted(found) == sorted(dict(said).items())


def lines_of(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode().split("\r\n")[1:-1]
    return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]


@pytest.mark.parametrize("name", ["content-type", "CONTENT-TYPE", "accept", "X-Mine"])
def test_what_a_request_adds_takes_the_place_of_what_every_one_has(
    name: str, clock: FakeClock
) -> None:
    settings = HttpSettings(base_url="http://x", headers={name: "of-all", "ACCEPT": "of-all"})
    api = Api("http://x", clock, settings, headers=settings.headers)
    head = lines_of(api.head("POST", "/", {name.title(): "of-one"}))
    assert dict(head)[name.lower()] == "of-one"
    assert set(Counter(line for line, _ in head).values()) == {1}


ODD = {"AUTHORIZATION": "theirs", "X-BANANA-api-key": "theirs", "ACCEPT": "theirs"}

WITH_HEADERS = [
    name
    for name, platform in PLATFORMS.items()
    if "headers" in load_kind(platform.kind).Settings.__struct_fields__
]


class Heads:
    """Reads the head of each request, and closes the connection."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))


@pytest.mark.parametrize("name", WITH_HEADERS)
async def test_no_platform_is_sent_a_header_twice(name: str) -> None:
    server = Heads()
    async with RawServer(server.talk).running() as at, started(name, at.url, headers=ODD) as asked:
        with contextlib.suppress(BackendError):
            await asked.invoke(call_of(name, "call-1"))
    assert server.heads
    for head in server.heads:
        found = [line for line, _ in lines_of(head.removesuffix(b"\r\n"))]
        assert sorted(found) == sorted(set(found))


async def test_azures_key_takes_the_place_of_one_among_the_headers(clock: FakeClock) -> None:
    server = Heads()
    async with RawServer(server.talk).running() as at:
        settings = OpenAISettings(
            provider="azure",
            base_url=at.url,
            api_key=Secret("own"),
            headers={"API-Key": "other", "api-KEY": "another"},
        )
        backend = OpenAICompatible("b", settings, clock)
        await backend.start()
        with contextlib.suppress(BackendError):
            await backend.invoke(
                Call(id="c", model="m", task="chat", body=b"{}", deadline=clock.monotonic() + 9)
            )
        await backend.aclose()
    [head] = server.heads
    assert [value for name, value in lines_of(head) if name == "api-key"] == ["own"]
