"""What a server with Potassium's face says of itself and of its background calls. Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, cast, get_args
from urllib.parse import quote

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.http.api import merged
from adapters.http.client import Origin
from adapters.http.failures import clean
from adapters.http.response import Response
from adapters.settings import (
    Count,
    Duration,
    HttpSettings,
    HttpUrl,
    PositiveDuration,
    Secret,
    SecretStr,
    UrlPath,
)
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import read, read_if
from adapters.types import Probe, Task, Usage

_REFUSED = (os.strerror(errno.ECONNREFUSED), f"[Errno {errno.ECONNREFUSED}]")
"""The second where a name has several addresses: what each of them said stands there."""
_FAILED = {"failed": FailureClass.FAILED, "cancelled": FailureClass.CANCELLED}


class PotassiumSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One app with Potassium's face."""

    base_url: HttpUrl
    """Where the app is, such as http://127.0.0.1:8000."""
    routes: dict[str, UrlPath] = msgspec.field(default_factory=lambda: {"infer": "/"})
    """The app's handler for each task: infer, chat, completions or embeddings."""
    background: bool = False
    """The infer handler is a background one: where the server names the job, its result is waited
    for; where it does not (Potassium itself), the answer is that it has begun."""
    slots: Count = 1
    """Calls that it runs at once: Potassium's experimental_num_workers. More wait there in
    order, where they cannot be called away."""
    api_key: SecretStr | None = None
    """Sent as X-Banana-API-Key, which a handler may read."""
    start_wait: Duration = 0.0
    """How long a call waits while init runs, which is while the port is closed or the server says
    that it loads; left out: another backend is asked at once."""
    start_every: PositiveDuration = 0.25
    """Between two tries of a server that starts."""
    start_timeout: PositiveDuration = 300.0
    """A port that is closed for longer is no start but a fault."""
    stuck_after: Duration = 600.0
    """A call that the server says has run for longer has lost its worker."""
    poll_every: PositiveDuration = 0.25
    """Between two questions about a background call."""
    stall_timeout: PositiveDuration = 30.0
    """The longest silence inside a stream that has begun; a generator that raised is silent for
    ever."""

    def __post_init__(self) -> None:
        Origin(self.base_url)
        unknown = sorted(self.routes.keys() - set(get_args(Task)))
        if unknown or not self.routes:
            raise ValueError(f"routes are for {', '.join(get_args(Task))}")
        if any(not route.startswith("/") for route in self.routes.values()):
            raise ValueError("a route begins with /")
        if self.background and set(self.routes) != {"infer"}:
            raise ValueError("a background handler takes infer calls alone")

    def routes_by_task(self) -> dict[Task, str]:
        """The routes, whose keys are known to be tasks."""
        return cast("dict[Task, str]", self.routes)

    def all_headers(self) -> dict[str, str]:
        """What every request carries."""
        key = {} if self.api_key is None else {"X-Banana-API-Key": self.api_key.reveal()}
        return merged(self.headers, key)


def port_is_closed(error: BackendError) -> bool:
    """Nobody listens there: nothing was sent."""
    return error.failure is FailureClass.UNREACHABLE and any(
        said in error.detail for said in _REFUSED
    )


class _Status(msgspec.Struct):
    """Times are in milliseconds. ``sequence_number`` counts warm-ups too, and is not read."""

    gpu_available: bool
    inference_time: float = 0.0


def status_of(response: Response, settings: PotassiumSettings) -> Probe:
    """Busy is warm: the next call waits for a worker, not for a start. No worker and nothing that
    runs is a model that loads; a call that never ends is a worker that is lost."""
    status = read_if(response.body, _Status)
    if status is None:
        return Probe(ready=False, detail=f"/_k/status answers {response.status}")
    if status.gpu_available:
        return Probe(ready=True, warm_workers=settings.slots)
    if not status.inference_time:
        return Probe(ready=False, warm_workers=0, starting_workers=1, detail="the model loads")
    seconds = status.inference_time / 1000
    if seconds > settings.stuck_after:
        detail = f"a call has run for {seconds:.0f} s: its worker is lost, restart the server"
        return Probe(ready=False, detail=detail)
    return Probe(ready=True, detail="every worker is busy")


# --- background calls -----------------------------------------------------------------------------


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A background call, as this project's own server shows it."""

    status: str
    output: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None

    @classmethod
    def read(cls, body: bytes) -> Answered | None:
        """None while it runs. Raises FAILED for what is no such thing."""
        found = read(body, cls, "The job's state could not be read.")
        return None if found.status == "running" else found


class _Begun(msgspec.Struct):
    started: bool = False
    job_id: str = ""


def job_of(body: bytes) -> str:
    """The id that a server gave a background call; empty where it has begun one and named none.
    Raises MALFORMED for what says neither."""
    begun = read_if(body, _Begun)
    if begun is None or not (begun.job_id or begun.started):
        raise malformed("The backend did not say that the call has begun.")
    return begun.job_id


def path_of(job: str) -> str:
    """Where a server answers for a background call."""
    return f"/_k/jobs/{quote(job, safe='')}"


def output_of(answered: Answered, usage: Usage, secrets: Sequence[Secret] = ()) -> bytes:
    """The result. Raises why there is none."""
    if answered.status == "completed":
        return bytes(answered.output)
    failure = _FAILED.get(answered.status, FailureClass.FAILED)
    message = clean(words_in(answered.error), secrets) or "The background call failed."
    raise BackendError(failure, message, usage=usage)
