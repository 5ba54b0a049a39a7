"""Endpoints in several regions, and who says where callers are."""

from __future__ import annotations

import pytest

from gateway.policy.reader import PolicyError
from gateway.routing.caller_regions import caller_regions
from tests.gateway.assembled import POLICY, read

SEVERAL = (
    POLICY.replace(
        "  burst:\n",
        "  near: {kind: fake, price: flex, regions: {eu: {slots: 3}, us: {}}}\n  burst:\n",
    ).replace("chat, backends: [home, burst]", "chat, backends: [home, near, burst]")
    + "routes:\n  - {name: all, use: [near, home]}\n"
)
TRUSTED = POLICY + (
    "regions: {header: X-Client-Region, trusted: [10.0.0.0/8, '2001:db8::1'], names: {DE: eu}}\n"
)


def test_endpoints_in_several_regions_are_backends_that_lists_name_together() -> None:
    policy = read(SEVERAL)
    assert list(policy.backends) == ["home", "near/eu", "near/us", "burst"]
    assert policy.models["chat"].backends == ("home", "near/eu", "near/us", "burst")
    assert policy.routes[0].use == ("near/eu", "near/us", "home")
    eu, us = policy.backends["near/eu"], policy.backends["near/us"]
    assert (eu.common.region, eu.settings.slots, eu.common.price) == ("eu", 3, "flex")
    assert (us.common.region, us.settings.slots, us.common.price) == ("us", 4, "flex")


def test_one_of_them_is_named_by_itself() -> None:
    policy = read(SEVERAL.replace("use: [near, home]", "use: [near/us]"))
    assert policy.routes[0].use == ("near/us",)


def test_a_policy_is_the_same_when_it_is_written_again() -> None:
    """As it is kept beside the ledger, and applied from there."""
    assert read(read(SEVERAL).document).version == read(SEVERAL).version


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ("{}", "backends.near.regions: must be a mapping"),
        ("[eu]", "backends.near.regions: must be a mapping"),
        ("{eu: 3}", "backends.near.regions.eu: must be a mapping"),
        ("{eu: {region: us}}", "it is the backend near/eu in that region; leave out region"),
        ("{'e u': {}}", "'near/e u' is not a name"),
        ("{eu: {slot: 3}}", "backends.near/eu.slot: unknown key"),
    ],
    ids=["none", "a list", "no keys", "region", "odd name", "unknown key"],
)
def test_odd_regions_are_told_with_their_place(regions: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(SEVERAL.replace("{eu: {slots: 3}, us: {}}", regions))
    assert said in str(caught.value)


def test_a_trusted_proxy_says_where_a_caller_is() -> None:
    """By its own word for it, or by the region's."""
    callers = caller_regions(read(TRUSTED).regions)
    assert callers is not None
    said = {b"x-client-region": b" DE "}
    assert callers.region("10.1.2.3", said) == "eu"
    assert callers.region("2001:db8::1", {b"x-client-region": b"us"}) == "us"
    assert callers.region("::ffff:10.0.0.1", said) == "eu"
    assert callers.region("10.1.2.3", {}) == ""


@pytest.mark.parametrize("client", ["192.0.2.7", "", "2001:db8::2", "nobody"])
def test_nobody_else_says_it(client: str) -> None:
    callers = caller_regions(read(TRUSTED).regions)
    assert callers is not None
    assert callers.region(client, {b"x-client-region": b"eu"}) == ""


@pytest.mark.parametrize("client", ["10.0.0.0/33", "me", "10.0.0.1/8"])
def test_an_odd_network_is_told(client: str) -> None:
    with pytest.raises(PolicyError, match=r"regions\.trusted\[0\]"):
        read(TRUSTED.replace("10.0.0.0/8", client))
