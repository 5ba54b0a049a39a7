"""What a policy says of a backend on Modal: a function, a method of a class, or a web endpoint."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from adapters.http.client import Origin
from adapters.names import Name
from adapters.settings import (
    Count,
    Duration,
    HttpUrl,
    PositiveDuration,
    PositiveSize,
    ProxyUrl,
    Secret,
    SecretStr,
    SettingError,
    UrlPath,
    unfit_ca_file,
    unfit_certificate,
)

NaturalNumber = Annotated[int, msgspec.Meta(ge=0)]


class ModalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One function, one class's method, or one web endpoint (https://modal.com/docs)."""

    url: HttpUrl | None = None
    """A web endpoint's address. Give one of url, function and cls."""
    function: Name | None = None
    """A deployed function's name."""
    cls: Name | None = None
    """A deployed class's name."""
    app: Name | None = None
    """The app that function or cls is deployed in."""
    method: Name | None = None
    """The method of cls that takes whole calls."""
    stream: Name | None = None
    """The generator (a function of the app, or a method of cls) that takes streamed calls; left
    out: a function streams nothing."""
    parameters: dict[str, Any] = {}
    """What cls is constructed with."""
    environment: Name | None = None
    """The workspace's environment; left out: its default."""
    token_id: SecretStr | None = None
    token_secret: SecretStr | None = None
    """Of a token for the workspace: function and cls need both."""
    server_url: HttpUrl | None = None
    """Where Modal's API is, where it is not Modal's own."""
    arguments: Literal["body", "keywords", "bytes"] = "body"
    """How a function gets the caller's JSON: as one dict, as keywords, or as it came."""
    openai: bool = False
    """It takes the body of an OpenAI call and answers as that protocol does; an endpoint is asked
    at the protocol's paths. Otherwise it takes /v1/infer calls alone."""
    path: UrlPath = "/"
    """Where /v1/infer calls of a web endpoint go."""
    health_path: UrlPath | None = None
    """Answers 200 while the endpoint is up; asking it wakes a container. Left out: not asked."""
    proxy_key: SecretStr | None = None
    proxy_secret: SecretStr | None = None
    """Of a proxy auth token, where the endpoint wants one: sent as Modal-Key and Modal-Secret."""
    ping_input: dict[str, Any] = msgspec.field(default_factory=lambda: {"spillgate_ping": True})
    """What the keep-warm ping of a function sends."""
    min_containers: NaturalNumber | None = None
    max_containers: Count | None = None
    buffer_containers: NaturalNumber | None = None
    scaledown_window: Duration | None = None
    """The autoscaler's settings of a function, where they are not to stay as deployed. A deploy
    resets them, so they are told again every ten minutes."""
    warm_for: Duration = 60.0
    """How long a container stays up unused, its scaledown_window: tells a cold start from a run."""
    slots: Count | None = None
    """The most calls that it runs at once."""
    timeout: PositiveDuration = 600.0
    """The longest that one call may take, whatever the caller would wait. Modal's own limit is
    that of the function."""
    stall_timeout: PositiveDuration = 120.0
    """The longest silence inside an answer whose body has begun."""
    connect_timeout: PositiveDuration = 5.0
    """The longest that a connection may take to be made."""
    keep_alive: Duration = 30.0
    """How long an unused connection to a web endpoint is kept; the keys below are of one too."""
    max_connections: Count = 256
    max_event: PositiveSize = 16 * 1024 * 1024
    """A larger event of a stream is an error."""
    max_response: PositiveSize = 64 * 1024 * 1024
    ca_file: str | None = None
    """PEM file of the authority that signed the endpoint's certificate; left out: the system's."""
    client_cert: str | None = None
    client_key: str | None = None
    """PEM files of what the endpoint is shown."""
    proxy: ProxyUrl | None = None
    """http://HOST:PORT of a proxy to the endpoint; off: none; left out: HTTPS_PROXY's of the
    environment."""
    proxy_auth: SecretStr | None = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.url, self.function, self.cls)) != 1:
            raise ValueError("give one of url, function and cls")
        if self.url is not None:
            Origin(self.url)
            self._check_endpoint()
        else:
            self._check_function()

    def missing(self) -> list[SettingError]:
        return [*unfit_ca_file(self.ca_file), *unfit_certificate(self)]

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All that no message may hold."""
        every = (self.token_id, self.token_secret, self.proxy_key, self.proxy_secret)
        return tuple(one for one in every if one is not None)

    @property
    def proxy_headers(self) -> dict[str, str]:
        """What a web endpoint behind proxy auth wants with every request."""
        if self.proxy_key is None or self.proxy_secret is None:
            return {}
        return {"Modal-Key": self.proxy_key.reveal(), "Modal-Secret": self.proxy_secret.reveal()}

    @property
    def autoscaler(self) -> dict[str, int]:
        """What the autoscaler is told, and nothing that was left out."""
        window = self.scaledown_window
        given = {
            "min_containers": self.min_containers,
            "max_containers": self.max_containers,
            "buffer_containers": self.buffer_containers,
            "scaledown_window": None if window is None else round(window),
        }
        return {key: value for key, value in given.items() if value is not None}

    def _check_endpoint(self) -> None:
        if (self.proxy_key is None) != (self.proxy_secret is None):
            raise ValueError("proxy_key and proxy_secret go together")
        if self.autoscaler:
            raise ValueError(
                "an endpoint's containers are scaled by a backend with function or cls"
            )

    def _check_function(self) -> None:
        if self.app is None:
            raise ValueError("app is missing: where the function or class is deployed")
        if self.token_id is None or self.token_secret is None:
            raise ValueError("token_id and token_secret are missing")
        if (self.cls is None) != (self.method is None):
            raise ValueError("cls and method go together")
        least, most = self.min_containers or 0, self.max_containers
        if most is not None and least > most:
            raise ValueError(f"min_containers, {least}, is more than max_containers, {most}")
        if self.scaledown_window is not None and not 2 <= self.scaledown_window <= 3600:
            raise ValueError("scaledown_window must lie between 2s and 1h")
