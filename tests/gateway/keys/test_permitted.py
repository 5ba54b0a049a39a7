"""A key that is bound to models, paths and addresses is good for nothing else."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.middleware import CONSOLE
from gateway.api.openapi import DOORS, document
from gateway.api.routed_paths import RoutedPath
from gateway.app import web
from gateway.clock import FakeClock
from gateway.keys.permitted import PATHS, check_request, is_within, may_use, read_permitted
from gateway.types import ApiError, Permitted
from tests.gateway.assembled import AssembledGateway, assembled


@contextlib.asynccontextmanager
async def from_address(
    gateway: AssembledGateway, address: str, **asked: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client there, whose key is made so."""
    headers = {"Authorization": f"Bearer {gateway.key(**asked)}"}
    transport = httpx.ASGITransport(app=web(gateway.inner), client=(address, 1))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=headers
    ) as client:
        yield client


def chat(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


def test_what_a_key_may_be_bound_to_is_what_there_is() -> None:
    """Every route but those that answer every key, or none."""
    always = {"/v1/me", "/v1/models", "/v1/models/{model}", "/healthz", "/readyz"}
    always.add("/v1/files/linked")
    routes = {re.sub(r"{\w+}", "x", path) for path in document()["paths"].keys() - always}
    for path in routes:
        assert read_permitted(None, [path], None, ()) == Permitted(paths=(path,))
    unmatched = {one for one in PATHS if not any(r.startswith(one.rstrip("*")) for r in routes)}
    assert unmatched == {f"{door}*" for door in DOORS} | {CONSOLE, f"{CONSOLE}/*"}


async def test_every_route_of_the_api_can_be_named(tmp_path: Path, clock: FakeClock) -> None:
    """As the application has them, also those that no document lists."""
    answers_all = ("/", "/healthz", "/readyz", "/openapi.json", "/docs", "/v1/files/linked")
    always = ("/v1/me", "/v1/models", "/{path:path}")
    async with assembled(tmp_path, clock) as gateway:
        paths = {route.path for route in web(gateway.inner).routes if isinstance(route, RoutedPath)}
    named = {
        re.sub(r"{.*?}", "x", path)
        for path in paths.difference(answers_all)
        if not path.startswith((*always, CONSOLE))
    }
    assert named > {"/v1/realtime", "/v1/chat/completions", "/admin/keys"}
    for path in named:
        assert read_permitted(None, [path], None, ()) == Permitted(paths=(path,))
    assert len(set(PATHS)) == len(PATHS)


async def test_a_model_that_the_key_is_not_for_is_refused_and_not_shown(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        assembled(tmp_path, clock) as gateway,
        gateway.client(gateway.key(models=["any"])) as client,
    ):
        gateway.fake("burst").runs_for = gateway.fake("home").runs_for = 0.0
        assert (await client.post("/v1/infer/any", json={})).status_code == 200
        refused = [
            await client.post("/v1/chat/completions", json=chat("chat")),
            await client.post("/v1/route/explain", json=chat("far")),
            await client.get("/v1/models/chat"),
            await client.post("/v1/infer/nothing", json={}),
        ]
        for answer in refused:
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (403, "key_not_permitted")
            assert "for the models any alone" in error["message"]
            assert error["param"] == "model"
        listed = (await client.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["any"]
        told = (await client.get("/v1/me")).json()
        assert (told["models"], told["paths"], told["addresses"]) == (["any"], None, None)
        assert not gateway.fake("home").calls or len(gateway.fake("home").calls) == 1


async def test_a_path_that_the_key_is_not_for_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    """An admin's too."""
    async with assembled(tmp_path, clock) as gateway:
        key = gateway.key(admin=True, paths=["/v1/infer/*", "/usage"])
        async with gateway.client(key) as client:
            asked = ["/usage", "/v1/me", "/v1/models", "/v1/models/chat"]
            assert {(await client.get(path)).status_code for path in asked} == {200}
            for path in ("/admin/keys", "/usage/calls", "/usages", "/v1/chat/completions", "/x"):
                answer = await client.get(path)
                assert answer.json()["error"]["code"] == "key_not_permitted", path
                assert "/v1/infer/*, /usage alone" in answer.json()["error"]["message"]


async def test_an_address_that_the_key_is_not_for_is_refused_and_told_of_no_other(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        bound = {"addresses": ["10.1.0.0/16", "2001:db8::/32"]}
        for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"):
            async with from_address(gateway, address, **bound) as client:
                assert (await client.get("/v1/me")).json()["addresses"] == bound["addresses"]
        for address in ("10.2.0.1", "2001:db9::1", "::1"):
            async with from_address(gateway, address, **bound) as client:
                answer = await client.get("/v1/me")
            assert (answer.status_code, answer.json()["error"]["code"]) == (
                403,
                "key_not_permitted",
            )
            assert address in answer.text
            assert "10.1" not in answer.text


async def test_what_a_proxy_says_of_its_client_is_not_believed(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        assembled(tmp_path, clock) as gateway,
        from_address(gateway, "192.0.2.1", addresses=["10.0.0.0/8"]) as client,
    ):
        told = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "X-Real-IP": "10.0.0.1"}
        assert (await client.get("/v1/models", headers=told)).status_code == 403


def test_a_client_without_an_address_is_within_no_network() -> None:
    with pytest.raises(ApiError, match="not from a socket"):
        check_request(Permitted(addresses=("0.0.0.0/0", "::/0")), "/v1/models", "")


@given(st.ip_addresses(), st.integers(0, 128))
def test_an_address_lies_in_each_network_around_it_and_in_none_beside(
    address: Any, length: int
) -> None:
    network = ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False)
    permitted = read_permitted(None, None, [str(network)], ())
    assert permitted is not None
    assert is_within(str(address), permitted.addresses)
    beside = [network[0] - 1] if int(network[0]) else []
    beside += [network[-1] + 1] if int(network[-1]) < 2**address.max_prefixlen - 1 else []
    assert not any(is_within(str(one), permitted.addresses) for one in beside)


def test_a_key_that_is_bound_to_nothing_may_use_everything() -> None:
    assert may_use(None, "chat")
    assert may_use(Permitted(paths=("/usage",)), "chat")
    assert read_permitted(None, None, None, ()) is None
