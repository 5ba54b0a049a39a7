"""One attempt ends within its time whatever a receiver does, and goes nowhere else."""

from __future__ import annotations

import contextlib
import datetime
import logging
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from adapters.settings import Secret
from gateway.events.attempts import NotReceived, Receiver
from gateway.events.client import WebhookClient
from gateway.events.signatures import headers_of
from gateway.policy.sections.webhooks import secret_bytes
from gateway.tls.authority import issue
from tests.gateway.events.receivers import (
    OTHER_SECRET,
    SECRET,
    Answer,
    babbling,
    cutting,
    hanging,
    huge_in_body,
    receiving,
    saying,
    slow_in_body,
    slow_in_head,
)

BODY = '{"type":"test","data":{"größe":"1"}}'


async def here(host: str, port: int) -> Sequence[str]:
    """Every name leads to this machine."""
    return ["127.0.0.1"]


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[WebhookClient]:
    made = WebhookClient(here)
    try:
        yield made
    finally:
        await made.aclose()


def at(url: str, *, timeout_s: float = 30.0, ca_file: str | None = None) -> Receiver:
    return Receiver(url=url, timeout_s=timeout_s, allow_private=True, ca_file=ca_file)


def signed(*secrets: str) -> dict[str, str]:
    keys = [secret_bytes(Secret(one)) for one in secrets or (SECRET,)]
    return headers_of("msg_1", BODY, keys, time.time())


async def test_a_message_comes_as_it_was_signed() -> None:
    async with client() as sender, receiving() as receiver:
        answer = await sender.post(at(receiver.url), signed(), BODY)
    [got] = receiver.received
    assert answer.taken
    assert got.line == "POST /hook?team=a HTTP/1.1"
    assert got.verified() == {"type": "test", "data": {"größe": "1"}}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_while_a_secret_is_exchanged_either_verifies_and_no_other() -> None:
    async with client() as sender, receiving() as receiver:
        await sender.post(at(receiver.url), signed(SECRET, OTHER_SECRET), BODY)
        await sender.post(at(receiver.url), signed(SECRET), BODY)
    both, one = receiver.received
    assert both.verified(SECRET) == both.verified(OTHER_SECRET)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        one.verified(OTHER_SECRET)


async def test_no_line_of_the_log_has_a_url(caplog: pytest.LogCaptureFixture) -> None:
    """It may hold a token of the receiver's."""
    caplog.set_level(logging.INFO)
    async with client() as sender, receiving() as receiver:
        await sender.post(at(receiver.url), signed(), BODY)
    assert "team=a" not in caplog.text


TAKEN = {"a slow body": slow_in_body, "a body without end": huge_in_body, "204": saying(204)}


@pytest.mark.parametrize("what", TAKEN)
async def test_a_message_is_taken_by_the_status_whatever_follows_it(what: str) -> None:
    async with client() as sender, receiving(TAKEN[what]) as receiver:
        assert (await sender.post(at(receiver.url), signed(), BODY)).taken


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with client() as sender, receiving() as elsewhere:
        async with receiving(saying(status, f"location: {elsewhere.url}")) as receiver:
            answer = await sender.post(at(receiver.url), signed(), BODY)
        assert (answer.status, answer.taken, elsewhere.connections) == (status, False, 0)


async def test_the_receivers_own_pause_is_told() -> None:
    async with client() as sender, receiving(saying(503, "retry-after: 120")) as receiver:
        answer = await sender.post(at(receiver.url), signed(), BODY)
    assert (answer.status, answer.retry_after_s) == (503, 120.0)


async def test_a_pause_in_digits_that_are_no_number_is_none() -> None:
    async with client() as sender, receiving(saying(503, "retry-after: \xb2")) as receiver:
        answer = await sender.post(at(receiver.url), signed(), BODY)
    assert (answer.status, answer.retry_after_s) == (503, None)


SILENT: dict[str, Answer] = {
    "it hangs": hanging,
    "it hangs in the head": slow_in_head,
    "it cuts": cutting,
    "it speaks another language": babbling,
}


@pytest.mark.parametrize("what", SILENT)
async def test_an_attempt_that_nobody_answers_fails_within_its_time(what: str) -> None:
    async with client() as sender, receiving(SILENT[what]) as receiver:
        with pytest.raises(NotReceived) as caught:
            await sender.post(at(receiver.url, timeout_s=0.3), signed(), BODY)
    assert "127.0.0.1" not in str(caught.value)
    assert "team" not in str(caught.value)


async def test_a_receiver_in_a_private_network_is_not_dialled() -> None:
    async with client() as sender, receiving() as receiver:
        private = Receiver(url=receiver.url, timeout_s=30.0)
        with pytest.raises(NotReceived, match="private network"):
            await sender.post(private, signed(), BODY)
    assert receiver.connections == 0


async def test_a_name_is_resolved_once_and_dialled_as_it_was_resolved() -> None:
    """One that is harmless when it is looked at, and leads home when it is dialled, does not."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    sender = WebhookClient(rebinding)
    async with receiving() as receiver:
        url = f"http://billing.example.com:{receiver.port}/"
        assert (await sender.post(at(url), signed(), BODY)).taken
    await sender.aclose()
    assert asked == ["billing.example.com"]
    assert receiver.received[0].headers["host"] == f"billing.example.com:{receiver.port}"


async def test_the_next_address_is_dialled_where_one_takes_no_connection() -> None:
    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    sender = WebhookClient(two)
    async with receiving() as receiver:
        assert (await sender.post(at(receiver.url), signed(), BODY)).taken
    await sender.aclose()


# --- certificates --------------------------------------------------------------------------------


def served_by(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A certificate for localhost, and the file of the authority that signed it."""
    files = issue(folder, ["localhost"], datetime.datetime.now(datetime.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return context, str(files.ca)


async def test_a_certificate_is_held_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    context, ca_file = served_by(tmp_path)
    async with client() as sender, receiving(context=context) as receiver:
        good = at(f"https://localhost:{receiver.port}/", ca_file=ca_file)
        assert (await sender.post(good, signed(), BODY)).taken
        wrong = at(f"https://billing.example.com:{receiver.port}/", ca_file=ca_file)
        with pytest.raises(NotReceived, match="certificate verify failed"):
            await sender.post(wrong, signed(), BODY)


async def test_an_authority_that_nobody_named_is_not_believed(tmp_path: Path) -> None:
    context, _ = served_by(tmp_path)
    async with client() as sender, receiving(context=context) as receiver:
        with pytest.raises(NotReceived, match="certificate verify failed"):
            await sender.post(at(f"https://localhost:{receiver.port}/"), signed(), BODY)
    assert receiver.received == []
