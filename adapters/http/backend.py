"""What backends behind one HTTP address have in common: most of the port, and their requests."""

from __future__ import annotations

from adapters.http.api import Api
from adapters.types import Capabilities


class HttpBackend:
    """A backend's name, the requests that it makes, and what it can do. A kind adds ``invoke``
    and ``probe``, and says ``slots`` where the platform has a bound."""

    def __init__(self, name: str, api: Api, capabilities: Capabilities) -> None:
        self.name = name
        self._api = api
        self._clock = api.clock
        self.capabilities = capabilities

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self._api!r}>"

    @property
    def slots(self) -> int | None:
        return None

    @property
    def round_trip_s(self) -> float | None:
        return self._api.client.round_trips.least

    async def start(self) -> None:
        self._api.start()

    async def aclose(self) -> None:
        await self._api.aclose()
