"""What backends behind one HTTP address have in common: most of the port, and a client."""

from __future__ import annotations

from adapters.base import Clock
from adapters.errors import BackendError
from adapters.http.client import Origin, client_of
from adapters.http.connection import Response
from adapters.http.failures import refused
from adapters.settings import HttpSettings, Secret
from adapters.types import Capabilities


class HttpBackend:
    """A backend's name, its connections and what it can do. A kind adds ``invoke`` and ``probe``,
    and says ``slots`` where the platform has a bound."""

    def __init__(
        self,
        name: str,
        origin: Origin,
        clock: Clock,
        settings: HttpSettings,
        *,
        capabilities: Capabilities,
        secrets: tuple[Secret, ...] = (),
    ) -> None:
        self.name = name
        self._clock = clock
        self._origin = origin
        self._client = client_of(origin, clock, settings)
        self._secrets = secrets
        self._capabilities = capabilities

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self._client!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def slots(self) -> int | None:
        return None

    async def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        await self._client.aclose()

    def _refusal(self, response: Response) -> BackendError:
        """What an answer that is no success means."""
        return refused(response, now=self._clock.time(), secrets=self._secrets)
