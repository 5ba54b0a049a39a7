"""Where a caller is, by the header of a proxy that is trusted."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.keys.permitted import is_within
from gateway.policy.sections.regions import CallerRegionSettings

_KNOWN = 1024
"""Proxies of which it is remembered whether they are trusted."""


class CallerRegions:
    """Believes the proxies that the policy names, and nobody else."""

    def __init__(self, settings: CallerRegionSettings) -> None:
        self._header = settings.header.lower().encode()
        self._names = settings.names
        self._trusted = settings.trusted
        self._known: dict[str, bool] = {}

    def region(self, client: str, headers: Mapping[bytes, bytes]) -> str:
        """Of a request that came from the address ``client``; empty where nobody says."""
        said = headers.get(self._header)
        if said is None or not self._trusts(client):
            return ""
        text = said.decode("latin-1").strip()
        return self._names.get(text, text)

    def _trusts(self, client: str) -> bool:
        known = self._known.get(client)
        if known is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[client] = is_within(client, self._trusted)
        return known


def caller_regions(settings: CallerRegionSettings | None) -> CallerRegions | None:
    """None where the policy says nothing of it."""
    return None if settings is None else CallerRegions(settings)
