"""A bound is put into a body that has none, and nothing else of it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.types import Call
from gateway.clock import FakeClock
from gateway.dialects.output_bound import bounded
from tests.gateway.assembled import POLICY, assembled

PLAIN = b'{"model": "m", "messages": [{"role": "user", "content": "h\\"i}"}]}'


def call(body: bytes) -> Call:
    return Call(id="req_1", model="m", task="chat", body=body)


def test_every_other_byte_stays_where_it_was() -> None:
    assert bounded(call(PLAIN), "max_tokens", 7).body == PLAIN[:-1] + b',"max_tokens":7}'


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        PLAIN + b" \n",
        b'{"model": "m", "max_tokens": null}',
        b'{"model": "m", "max_tokens": -1, "max_completion_tokens": 0}',
        b'{"model": "m", "max\\u005ftokens": 0}',
        b'{"model": "m", "x": {"max_tokens": 9}, "price": 1.10}',
    ],
    ids=str,
)
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_bound_stands_there_once_whatever_stood_there(body: bytes, field: str) -> None:
    pairs = json.loads(bounded(call(body), field, 12).body, object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert [pair for pair in pairs if pair[0].startswith("max_")] == [(field, 12)]
    kept = [pair for pair in json.loads(body, object_pairs_hook=list) if "max_" not in pair[0]]
    assert [pair for pair in pairs if "max_" not in pair[0]] == kept
    assert len(set(names)) == len(names)


def test_a_backend_that_takes_no_bound_is_sent_what_came() -> None:
    assert bounded(call(PLAIN), "none", 7).body == PLAIN


def test_a_number_keeps_its_digits() -> None:
    body = b'{"max_tokens":null,"seed":12345678901234567890,"t":0.10}'
    assert b'"seed":12345678901234567890,"t":0.10' in bounded(call(body), "max_tokens", 1).body


@pytest.mark.parametrize(
    ("declared", "field"),
    [
        ("max_tokens", "max_tokens"),
        ("max_completion_tokens", "max_completion_tokens"),
        ("none", "max_tokens"),
    ],
)
@pytest.mark.parametrize(
    ("path", "own"), [("/v1/messages", "max_tokens"), ("/v1/responses", "max_output_tokens")]
)
async def test_a_translated_call_is_bounded_in_the_backends_own_field(
    declared: str, field: str, path: str, own: str, tmp_path: Path, clock: FakeClock
) -> None:
    policy = POLICY.replace("    kind: fake\n", f"    kind: fake\n    output_bound: {declared}\n")
    body = {"model": "far", "input": "hi", "messages": [{"role": "user", "content": "hi"}], own: 7}
    async with assembled(tmp_path, clock, policy) as gateway, gateway.client() as client:
        await client.post(path, json=body)
        sent = json.loads(gateway.fake("burst").calls[0].body)
        assert {name: sent[name] for name in sent if name.startswith("max_")} == {field: 7}
