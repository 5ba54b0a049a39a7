"""A webhook is sent where everybody could send it: what hides a private address is found out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.addresses import Resolve, SystemResolver, dialled
from local_runtime.public_addresses import Forbidden, is_public, tells_of_machine

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]
PRIVATE = {
    "this machine": "127.0.0.1",
    "all of this machine's": "127.8.9.10",
    "this machine, IPv6": "::1",
    "unspecified": "0.0.0.0",
    "unspecified network": "0.1.2.3",
    "unspecified, IPv6": "::",
    "ten": "10.1.2.3",
    "172.16": "172.16.0.1",
    "172.31": "172.31.255.254",
    "192.168": "192.168.1.1",
    "link-local, a cloud's metadata": "169.254.169.254",
    "link-local, IPv6": "fe80::1",
    "link-local with a zone": "fe80::1%eth0",
    "a cloud's metadata, IPv6": "fd00:ec2::254",
    "unique local": "fc00::1",
    "carrier-grade NAT": "100.64.0.1",
    "benchmarks": "198.18.0.1",
    "documentation": "192.0.2.1",
    "documentation, IPv6": "2001:db8::1",
    "multicast": "224.0.0.1",
    "global multicast": "239.1.2.3",
    "multicast, IPv6": "ff02::1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "mapped": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped metadata in digits": "::ffff:a9fe:a9fe",
    "compatible": "::7f00:1",
    "6to4": "2002:7f00:1::",
    "6to4 of a private network": "2002:c0a8:101::1",
    "NAT64": "64:ff9b::7f00:1",
    "NAT64 metadata": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::a00:1",
    "Teredo": "2001:0:7f00:1::",
    "site-local": "fec0::1",
    "a cloud's metadata, of the protocols' network": "192.0.0.192",
    "a cloud's own services": "168.63.129.16",
    "relays of 6to4": "192.88.99.1",
    "newer documentation, IPv6": "3fff::1",
    "no address": "localhost",
    "empty": "",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_one(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("what", PRIVATE)
def test_what_is_not_everybodys_is_not_public(what: str) -> None:
    assert not is_public(PRIVATE[what])


@given(st.ip_addresses(v=4))
def test_an_address_is_public_in_each_form_or_in_none(address: object) -> None:
    forms = [f"::ffff:{address}", f"64:ff9b::{address}"]
    assert {is_public(form) for form in forms} == {is_public(str(address))}


def leading_to(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def test_a_name_that_leads_to_private_addresses_alone_is_refused() -> None:
    with pytest.raises(Forbidden, match=r"intranet lies in a private network.*allow_private"):
        await dialled("intranet", 443, leading_to("10.0.0.1", "::1"), allow_private=False)


async def test_of_a_name_with_both_the_public_address_alone_is_dialled() -> None:
    found = await dialled("odd", 443, leading_to("10.0.0.1", "8.8.8.8"), allow_private=False)
    assert found == ["8.8.8.8"]


async def test_where_it_is_allowed_a_private_address_is_dialled() -> None:
    assert await dialled("here", 80, leading_to("10.0.0.1"), allow_private=True) == ["10.0.0.1"]


SERVICES = [
    what
    for what in PRIVATE
    if "metadata" in what or "link-local" in what or what == "a cloud's own services"
]


@pytest.mark.parametrize("what", SERVICES)
async def test_where_a_cloud_tells_a_machine_of_itself_is_dialled_for_nobody(what: str) -> None:
    """In whatever form it hides; a caller could read a machine's own credentials there."""
    address = PRIVATE[what]
    assert tells_of_machine(address)
    with pytest.raises(Forbidden, match="no receiver is there"):
        await dialled("odd", 80, leading_to(address), allow_private=True)
    found = await dialled("odd", 80, leading_to(address, "10.0.0.1"), allow_private=True)
    assert found == ["10.0.0.1"]


@pytest.mark.parametrize("what", sorted(PRIVATE.keys() - set(SERVICES)))
def test_other_private_addresses_are_no_clouds_services(what: str) -> None:
    assert not tells_of_machine(PRIVATE[what])


async def test_a_name_without_addresses_leads_nowhere() -> None:
    with pytest.raises(OSError, match="nowhere has no address"):
        await dialled("nowhere", 80, leading_to(), allow_private=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.1"])
async def test_an_odd_way_to_write_an_address_is_the_address(host: str) -> None:
    """As the system reads it, so it is judged."""
    resolve = SystemResolver(1)
    try:
        with pytest.raises(Forbidden):
            await dialled(host, 80, resolve, allow_private=False)
    finally:
        resolve.close()
