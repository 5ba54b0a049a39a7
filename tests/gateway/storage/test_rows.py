"""A row as a text: of one that is open, with what it holds."""

from __future__ import annotations

import msgspec
import pytest

from gateway.storage.base import Claim, LedgerRow
from gateway.storage.claims import CallClaims, template_of
from gateway.storage.rows import decode_open, encode_open, same_call
from gateway.types import Principal

ROW = LedgerRow(
    id="req_1", started_at=1.5, key_id="k", user="u", model="m", task="chat", backend="spare"
)
HELD = (
    Claim('plan:"a" % b', "gpu_us", "day", 90, 7),
    Claim("gateway", "nano_usd", "month", 10**15, 11),
)
COUNTED = (Claim("gateway", "requests", "minute", 60, 1), Claim("gateway", "concurrent", "", 4, 1))
TEMPLATE = template_of(Principal(key_id="k", user="u"), COUNTED + HELD, ())


@pytest.mark.parametrize(
    "claims", [CallClaims(TEMPLATE, 11, 7), HELD], ids=["a caller's limits", "one by one"]
)
def test_an_open_row_reads_back_with_what_it_holds(claims: CallClaims | tuple[Claim, ...]) -> None:
    _, owner, text = encode_open(msgspec.structs.replace(ROW, claims=claims), "a gateway")
    assert owner == "a gateway"
    assert decode_open((text,)) == msgspec.structs.replace(ROW, claims=HELD)


def test_an_open_row_of_an_earlier_version_is_read() -> None:
    text = (
        '{"id":"req_1","started_at":1.5,"key_id":"k","user":"u","model":"m","task":"chat",'
        '"backend":"spare","claims":[{"scope":"gateway","unit":"nano_usd","window":"month",'
        '"limit":1000000000000000,"take":11}]}'
    )
    assert decode_open((text,)) == msgspec.structs.replace(ROW, claims=HELD[1:])
    _, _, today = encode_open(msgspec.structs.replace(ROW, claims=HELD), "a gateway")
    assert same_call(text, today)


def test_a_row_that_holds_nothing_is_read() -> None:
    _, _, text = encode_open(ROW, "a gateway")
    assert decode_open((text,)) == ROW
