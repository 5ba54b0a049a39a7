"""The names for which a certificate is made."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from gateway.tls.authority import check_name
from gateway.tls.files import leaf_names
from gateway.tls.hosts import hosts_of


@pytest.mark.parametrize("listen", ["127.0.0.1", "gpus.example.com", "10.1.2.3"])
def test_one_address_is_one_name(listen: str) -> None:
    assert hosts_of(listen) == [listen]


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
def test_every_address_is_the_machines_own(listen: str) -> None:
    found = hosts_of(listen, ["gpus.example.com"])
    assert found[:2] == [listen, "gpus.example.com"]
    assert socket.gethostname().lower() in found
    names = leaf_names(found)
    assert listen not in names
    for name in names:
        try:
            ipaddress.ip_address(name)
        except ValueError:
            check_name(name)


def test_a_name_that_is_given_twice_is_one() -> None:
    assert hosts_of("a.example", ["a.example", "b.example"]) == ["a.example", "b.example"]
