"""Results of background calls, sent to the URL that the caller named."""

from __future__ import annotations

import datetime
import itertools
import json
import threading

import pytest
from standardwebhooks import Webhook

from local_runtime.protocol.events import Done, Run
from local_runtime.public_addresses import Forbidden
from local_runtime.webhook_post import WebhookRules
from local_runtime.webhooks import ATTEMPTS, Webhooks, payload_of, url_of
from tests.waiting import WITHIN_S, wait_until

URL = "https://example.test/hook"


class Receiver:
    """Answers as it is told to; an exception is raised."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.got: list[tuple[str, bytes, dict[str, str]]] = []
        self.pauses: list[float] = []

    def send(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        self.got.append((url, body, headers))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def deliver(self) -> bool:
        return self.webhooks().deliver(URL, "job-1", b"{}")

    def webhooks(self, *secrets: bytes) -> Webhooks:
        return Webhooks(
            rules=WebhookRules(secrets),
            send=self.send,
            pause=self.pauses.append,
            now=itertools.count(1_700_000_000).__next__,
        )


def test_a_receiver_that_takes_it_is_asked_once() -> None:
    """Any 2xx will do."""
    receiver = Receiver(204)
    assert receiver.deliver()
    assert receiver.pauses == []


def test_a_receiver_that_is_down_is_asked_again_with_longer_pauses() -> None:
    """Silence, 5xx and 429 may pass."""
    receiver = Receiver(ConnectionRefusedError(), 503, 429, 200)
    assert receiver.deliver()
    assert receiver.pauses == [1.0, 2.0, 4.0]


def test_attempts_end_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """And the log says so, without the path, which may hold a token."""
    receiver = Receiver(*[500] * 99)
    assert not receiver.deliver()
    assert len(receiver.got) == ATTEMPTS
    assert capsys.readouterr().err == "a webhook to example.test failed: status 500\n"


@pytest.mark.parametrize("status", [301, 400, 404, 410])
def test_a_receiver_that_refuses_is_not_asked_again(status: int) -> None:
    """It would refuse again; redirects are not followed."""
    receiver = Receiver(status)
    assert not receiver.deliver()
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "error", [ValueError("port"), UnicodeError("label too long"), LookupError("unknown encoding")]
)
def test_an_address_that_is_none_is_given_up_at_once(error: Exception) -> None:
    """No pause would mend it, and others wait."""
    receiver = Receiver(error)
    assert not receiver.deliver()
    assert receiver.pauses == []


def test_a_receiver_where_none_may_be_is_given_up_at_once_with_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    receiver = Receiver(Forbidden("it lies in a private network"))
    assert not receiver.deliver()
    assert receiver.pauses == []
    told = "a webhook to example.test failed: it lies in a private network\n"
    assert capsys.readouterr().err == told


def test_each_attempt_is_signed_anew_under_one_id() -> None:
    """By both secrets, while one is exchanged for another; a library of others believes it."""
    old, new = b"o" * 24, b"n" * 24
    receiver = Receiver(500, 204)
    assert receiver.webhooks(new, old).deliver(URL, "job-1", b'{"n":1}')
    sent = [headers for *_, headers in receiver.got]
    assert [one["webhook-id"] for one in sent] == ["job-1", "job-1"]
    assert [one["webhook-timestamp"] for one in sent] == ["1700000000", "1700000001"]
    for headers in sent:
        stamp = datetime.datetime.fromtimestamp(int(headers["webhook-timestamp"]), datetime.UTC)
        wanted = {Webhook(secret).sign("job-1", stamp, '{"n":1}') for secret in (old, new)}
        assert set(headers["webhook-signature"].split()) == wanted


def test_without_a_secret_nothing_is_signed() -> None:
    receiver = Receiver(204)
    assert receiver.deliver()
    assert "webhook-signature" not in receiver.got[0][2]


def test_bytes_that_are_no_json_are_sent_as_text() -> None:
    """What is sent is JSON, whatever a handler has made."""
    done = Done(1, True, b"<p>caf\xc3\xa9", status=200, headers=(("Content-Type", "text/html"),))
    assert json.loads(payload_of("a", done))["output"] == "<p>café"
    made = Done(1, True, b'{"a":1}', status=200)
    assert json.loads(payload_of("a", made))["output"] == {"a": 1}


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ({"webhook": URL}, URL),
        ({"webhook": "http://127.0.0.1:1/x?y=1"}, "http://127.0.0.1:1/x?y=1"),
        ({"webhook": "file:///etc/passwd"}, None),
        ({"webhook": "http://"}, None),
        ({"webhook": 5}, None),
        ({}, None),
        ([], None),
    ],
)
def test_only_a_web_address_is_a_webhook(body: object, url: str | None) -> None:
    """Anything else is as if there were none."""
    assert url_of(json.dumps(body).encode()) == url


def test_a_body_that_is_not_json_has_no_webhook() -> None:
    """The call itself will fail, not the worker."""
    assert url_of(b"{") is None


def test_what_is_sent_says_how_the_job_ended() -> None:
    """The output as it is, or the message that a caller would have had."""
    good = json.loads(payload_of("j", Done(1, True, b'{"a":1}')))
    assert good == {"job_id": "j", "status": "completed", "output": {"a": 1}}
    bad = json.loads(payload_of("j", Done(1, False, message="no", detail="secret")))
    assert bad == {"job_id": "j", "status": "failed", "error": "no"}


def test_a_receiver_that_hangs_holds_up_no_other() -> None:
    """Results of other jobs go out beside it."""
    release, others = threading.Event(), threading.Semaphore(0)

    def send(url: str, body: bytes, headers: dict[str, str]) -> int:
        if json.loads(body)["job_id"] == "slow":
            release.wait(WITHIN_S)
        others.release()
        return 200

    webhooks, body = Webhooks(send=send), json.dumps({"webhook": URL}).encode()
    for name in ("slow", "a", "b", "c"):
        webhooks.answer(Run(1, "/", body, name))(Done(1, True, b"1"))
    for _ in range(3):
        assert others.acquire(timeout=WITHIN_S)
    assert not webhooks.idle
    release.set()
    wait_until(lambda: webhooks.idle)
