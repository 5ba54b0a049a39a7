"""The section ``regions``: who says where callers are."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec

from adapters.settings import SettingError
from gateway.policy.syntax.scalars import Name


class CallerRegionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Left out: nobody says."""

    header: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,100}$")]
    """The header in which a proxy says it, such as X-Client-Region. The proxy must take out what
    its own callers send under this name."""
    trusted: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Networks of the proxies that are believed, such as 10.0.0.0/8; anybody else's header counts
    for nothing."""
    names: dict[str, Name] = {}
    """What the header says -> the region, such as DE: eu; what stands here not is the region's own
    name."""

    def __post_init__(self) -> None:
        for index, network in enumerate(self.trusted):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                message = f"{error}; write a network such as 10.0.0.0/8, or one address"
                raise SettingError((f"trusted[{index}]",), message) from None
