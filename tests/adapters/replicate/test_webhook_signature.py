"""A webhook's signature: Replicate's own validator and ours agree, and nothing else is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.replicate.webhook_signature import is_genuine
from adapters.settings import Secret

KEY = b"thirty-two bytes of a secret key"
SECRET = Secret("whsec_" + base64.b64encode(KEY).decode())
NOW = 1_795_000_000.0


def signature(body: bytes, *, id: str = "msg_1", sent: str = f"{NOW:.0f}", key: bytes = KEY) -> str:
    signed = b"%b.%b.%b" % (id.encode(), sent.encode(), body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(body: bytes, **changed: str) -> dict[str, str]:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": f"{NOW:.0f}",
        "webhook-signature": signature(body),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }


def test_replicates_own_validator_takes_what_ours_takes() -> None:
    from replicate.webhook import Webhooks, WebhookSigningSecret

    body = b'{"id":"p1","status":"succeeded"}'
    assert is_genuine(body, headers(body), SECRET, now=NOW)
    Webhooks.validate(  # raises where it does not
        headers=headers(body),
        body=body.decode(),
        secret=WebhookSigningSecret(key=SECRET.reveal()),
    )


def test_one_good_signature_among_several_is_enough() -> None:
    """The platform signs under the old key and the new one while they change."""
    body = b"{}"
    many = f"{signature(body, key=b'old')} v2,abc v1,!! {signature(body)}"
    assert is_genuine(body, headers(body, webhook_signature=many), SECRET, now=NOW)


def test_names_of_headers_are_read_in_any_case() -> None:
    shouted = {name.upper(): value for name, value in headers(b"{}").items()}
    assert is_genuine(b"{}", shouted, SECRET, now=NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_id": "msg_2"},
        {"webhook_id": ""},
        {"webhook_timestamp": "1795000001"},
        {"webhook_timestamp": "soon"},
        {"webhook_timestamp": "٣"},
        {"webhook_signature": ""},
        {"webhook_signature": signature(b"{}").removeprefix("v1,")},
        {"webhook_signature": signature(b"{}").replace("v1", "v1a")},
        {"webhook_signature": "v1,ä"},
        {"webhook_signature": signature(b"{}", key=b"another")},
    ],
)
def test_whatever_was_changed_is_not_believed(changed: dict[str, str]) -> None:
    assert not is_genuine(b"{}", headers(b"{}", **changed), SECRET, now=NOW)


@given(body=st.binary(max_size=64), other=st.binary(max_size=64))
def test_another_body_is_not_believed(body: bytes, other: bytes) -> None:
    assert is_genuine(other, headers(body), SECRET, now=NOW) is (body == other)


@pytest.mark.parametrize(
    ("off", "genuine"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_an_old_one_and_one_of_the_future_are_not_believed(off: int, genuine: bool) -> None:
    assert is_genuine(b"{}", headers(b"{}"), SECRET, now=NOW + off) is genuine


@pytest.mark.parametrize("key", ["whsec_", "whsec_!!", "nothing like it"])
def test_a_key_that_is_none_is_an_error_and_never_an_empty_key(key: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        is_genuine(b"{}", headers(b"{}"), Secret(key), now=NOW)
