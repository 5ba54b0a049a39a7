"""A gateway with a console, and people who look at it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from gateway.app import web
from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import PREFIX, SIGN_IN
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
HTML = {"Accept": "text/html,application/xhtml+xml"}


def policy_in(folder: Path, more: str = "") -> str:
    """The usual policy, whose data lie in the folder."""
    return POLICY.replace("{tls:", f"{{data: {folder}, tls:") + more


@contextlib.asynccontextmanager
async def looked_at(
    folder: Path, clock: FakeClock, more: str = ""
) -> AsyncIterator[AssembledGateway]:
    async with assembled(folder, clock, policy_in(folder, more)) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def browser(
    gateway: AssembledGateway, key: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in with the key, if there is one; follows no redirection."""
    transport = httpx.ASGITransport(app=web(gateway.inner))
    async with httpx.AsyncClient(
        transport=transport, base_url="https://gateway.example", headers=HTML
    ) as client:
        if key is not None:
            answer = await client.post(SIGN_IN, data={"key": key})
            assert answer.status_code == 303, answer.text
        yield client


@contextlib.asynccontextmanager
async def administered(
    folder: Path, clock: FakeClock
) -> AsyncIterator[tuple[AssembledGateway, httpx.AsyncClient]]:
    """With the browser of an admin, who is signed in."""
    async with (
        looked_at(folder, clock) as gateway,
        browser(gateway, gateway.key("root", admin=True)) as client,
    ):
        yield gateway, client


async def done(client: httpx.AsyncClient, act: str, **fields: str) -> httpx.Response:
    """A form of the session's own, sent."""
    token = await token_of(client)
    return await client.post(f"{PREFIX}/{act}", data={"token": token, **fields})


async def called(gateway: AssembledGateway, user: str) -> str:
    """One call of the user's: its id."""
    async with gateway.client(gateway.key(user)) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200
    await gateway.clock.advance(1)  # what is told until now is told without what begins now
    return answer.headers["x-request-id"]


async def token_of(client: httpx.AsyncClient, page: str = PREFIX) -> str:
    """What the forms of the session carry."""
    text = (await client.get(page)).text
    return text.partition('name="token" value="')[2].partition('"')[0]
