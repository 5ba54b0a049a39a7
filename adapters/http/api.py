"""The requests to one origin: its connections, what each request carries, what a refusal means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, Self

from adapters.base import PROBE_S, Clock
from adapters.errors import BackendError
from adapters.http.client import NEVER, Client, Origin, render_head
from adapters.http.failures import refused
from adapters.http.response import Body, Response
from adapters.proxies import usual_proxy
from adapters.settings import ConnectionSettings, Secret
from adapters.trust import certificate_of
from adapters.types import Task

EVENTS = {"Accept": "text/event-stream"}
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class KeyedSettings(ConnectionSettings, Protocol):
    """The settings of a server that is asked with a key; see ``HttpSettings``."""

    @property
    def base_url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def api_key(self) -> Secret | None: ...


class Api:
    """An HTTP API below one base URL. Raises BackendError and nothing else once it is built.

    ``headers`` go with every request. ``secrets`` are taken out of every message; those that the
    settings left out (None) are none. A platform with refusals of its own overrides ``refusal``.
    """

    def __init__(
        self,
        base_url: str,
        clock: Clock,
        settings: ConnectionSettings,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[Secret | None] = (),
        query: str = "",
        left_out: str = "",
    ) -> None:
        """``query`` stands at the end of every path, and what is ``left_out`` at no beginning of
        one. Raises ValueError for a base URL that is none."""
        self._query = query
        self.left_out = left_out
        self.origin = Origin(base_url)
        self.client = Client(
            self.origin,
            clock,
            max_connections=settings.max_connections,
            connect_timeout=settings.connect_timeout,
            keep_alive=settings.keep_alive,
            stall_timeout=settings.stall_timeout,
            max_response=settings.max_response,
            ca_file=settings.ca_file,
            certificate=certificate_of(settings.client_cert, settings.client_key),
            proxy=usual_proxy(
                self.origin.host,
                self.origin.secure,
                settings.proxy,
                None if settings.proxy_auth is None else settings.proxy_auth.reveal(),
            ),
        )
        self.clock = clock
        self.headers = merged({"Content-Type": "application/json"}, headers or {})
        self.secrets = tuple(
            secret for secret in (*secrets, settings.proxy_auth) if secret is not None
        )

    @classmethod
    def keyed(
        cls,
        settings: KeyedSettings,
        clock: Clock,
        *,
        url: str | None = None,
        more: Mapping[str, str] = NO_HEADERS,
    ) -> Self:
        """One that shows the settings' key as a bearer token, where they have one, and sends their
        headers and ``more``; below ``url``, where that is not their ``base_url``."""
        key = settings.api_key
        headers = merged(settings.headers, bearer(key), more)
        return cls(url or settings.base_url, clock, settings, headers=headers, secrets=(key,))

    def __repr__(self) -> str:
        return repr(self.client)

    def start(self) -> None:
        """Must run on the loop that the calls will run on."""
        self.client.start()

    async def aclose(self) -> None:
        """Closes every connection; requests in flight fail. May be called twice."""
        await self.client.aclose()

    def head(self, method: str, path: str, more: Mapping[str, str] | None = None) -> bytes:
        """The head of a request, all but Content-Length, with ``more`` headers than every request
        has. Raises ValueError for a path or a header that would break out of its line."""
        path = path.removeprefix(self.left_out)
        if self._query:
            path = f"{path}{'&' if '?' in path else '?'}{self._query}"
        headers = merged(self.headers, more) if more else self.headers
        return render_head(method, self.origin, path, headers)

    def heads(self, routes: Mapping[Task, str]) -> dict[Task, bytes]:
        """The head of a POST for each task, made once for all its calls."""
        return {task: self.head("POST", path) for task, path in routes.items()}

    def before(self, deadline: float, seconds: float) -> float:
        """``deadline``, but in ``seconds`` at the latest: an instant of the monotonic clock."""
        return min(deadline, self.clock.monotonic() + seconds)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        within: float = PROBE_S,
        deadline: float = NEVER,
    ) -> Response:
        """One request, answered whole within so many seconds and before an instant of the
        monotonic clock. Any status is an answer."""
        head = self.head(method, path)
        return await self.client.request(head, body, deadline=self.before(deadline, within))

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        within: float = PROBE_S,
        deadline: float = NEVER,
        also: Collection[int] = (),
    ) -> Response:
        """The same for a request that must succeed: raises what any status means that is neither
        2xx nor one of ``also``."""
        response = await self.send(method, path, body, within=within, deadline=deadline)
        return self.checked(response, also)

    def checked(self, response: Response, also: Collection[int] = ()) -> Response:
        """An answer of status 2xx, or of one of ``also``. Raises what any other means."""
        if 200 <= response.status < 300 or response.status in also:
            return response
        raise self.refusal(response)

    async def open(self, head: bytes, body: bytes | None, deadline: float) -> Body:
        """A streamed answer of status 2xx. Raises what any other means."""
        answer = await self.client.stream(head, body, deadline=deadline)
        if 200 <= answer.status < 300:
            return answer
        raise self.refusal(await answer.to_response())

    def refusal(self, response: Response) -> BackendError:
        """What an answer that is no success means."""
        return refused(response, now=self.clock.time(), secrets=self.secrets)


def merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """All of their headers, each name once in whatever case (RFC 9110, 5.1): the last one wins."""
    found = {name.lower(): (name, value) for part in parts for name, value in part.items()}
    return dict(found.values())


def bearer(api_key: Secret | None) -> dict[str, str]:
    """The header that carries a key as a bearer token (RFC 6750); none where there is no key."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key.reveal()}"}


def below_v1(url: str) -> str:
    """Where the paths of OpenAI's protocol begin; a base URL may be given with its ``/v1``."""
    return url.rstrip("/").removesuffix("/v1")
