"""Which addresses everybody could dial, in whatever form they hide another one.

What lies in private networks, on this machine or at a cloud's own services is not for strangers to
name. Source: the registries of special addresses, IANA, "IPv4/IPv6 Special-Purpose Address
Registry".
"""

from __future__ import annotations

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = (
    ipaddress.IPv6Network("64:ff9b::/96"),  # RFC 6052
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # RFC 8215
)
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291, 2.5.5.1

_NOT_FOR_ALL = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16", "fec0::/10", "3fff::/20"),
    )
)
"""What ``is_global`` of Python 3.11 lets pass: the registries' newer entries, site-local addresses
(RFC 3879), and Azure's own services, whose address looks like anybody's."""


_SERVICES = tuple(
    map(
        ipaddress.ip_network,
        (
            *("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32"),
            *("192.0.0.192", "100.100.100.200", "168.63.129.16"),
        ),
    )
)
"""Where clouds tell a machine its own credentials: link-local addresses, and those of AWS over
IPv6, Oracle, Alibaba and Azure."""


class Forbidden(Exception):
    """Raised for a receiver that stands where no webhook may be sent. Says no address: who named
    the host may not be told what lies behind it."""


def is_public(address: str) -> bool:
    """Whether everybody could dial it: and so may we, for a stranger. False for what is no
    address."""
    found = _read(address)
    return found is not None and all(_is_public(one) for one in _within(found))


def may_be_dialled(address: str, *, allow_private: bool) -> bool:
    """Whether a stranger may have it dialled. Where a cloud tells a machine of itself never is:
    nobody's receiver stands there."""
    return not tells_of_machine(address) if allow_private else is_public(address)


def tells_of_machine(address: str) -> bool:
    """Whether a cloud's own services are there. False for what is no address."""
    found = _read(address)
    return found is not None and any(map(_is_a_service, _within(found)))


def _read(address: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _is_a_service(address: IpAddress) -> bool:
    return any(address in network for network in _SERVICES)


def _is_public(address: IpAddress) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not any(address in network for network in _NOT_FOR_ALL)
    )


def _within(address: IpAddress) -> list[IpAddress]:
    """The address, and each that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _TRANSLATED[0]:
        return [low]  # the network itself is not global, by the registry, and is dialled
    inner: list[IpAddress] = [address]
    if address in _COMPATIBLE or address in _TRANSLATED[1]:
        inner.append(low)
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner.extend(address.teredo)
    return inner
