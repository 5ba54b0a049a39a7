"""Any JSON endpoint on a reserved machine, by a mapping that the policy declares.

The request is a template in which ``$body`` stands for the caller's bytes, ``$id`` for the
call's id and ``$model`` for the model's name; the answer is found by a dotted path. What is not
declared is what HTTP says (``adapters.http.failures``): nothing is known of the server
otherwise.
A stream is passed on as it comes. A call is stopped by closing its connection.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass, Fault, Ran, takes_no
from adapters.http.answers import check_output, is_error, output_in, with_usage_told
from adapters.http.api import EVENTS, Api, merged
from adapters.http.backend import HttpBackend
from adapters.http.client import Origin
from adapters.http.endpoint_words import about_the_endpoint
from adapters.http.failures import OUR_MATTER, clean
from adapters.http.outputs import answer_of
from adapters.http.passthrough import stream_of
from adapters.http.response import Response
from adapters.settings import Count, HeaderName, HttpSettings, SecretStr, SettingError, UrlPath
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import UNREADABLE, read_if, read_input, value_in, value_of
from adapters.types import ALL_TASKS, INFER_ONLY, Call, Capabilities, Probe, Reply, Usage

FailureName = Literal[
    "overloaded", "loading", "credential", "gone", "too_large", "unsupported", "invalid",
    "failed", "worker_died", "timeout",
]  # fmt: skip
"""The classes of ``adapters.errors`` that a status may mean."""
_CLASSES = {one.slug: one for one in FailureClass}
_PLACES = re.compile(rb'"\$(body|id|model)"')


class HttpJsonSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a JSON endpoint is, and how calls are mapped to it."""

    path: UrlPath = "/"
    """Where calls go."""
    method: Literal["POST", "PUT"] = "POST"
    secret_headers: dict[HeaderName, SecretStr] = msgspec.field(default_factory=dict)
    """Sent with every call, from the environment: "X-Api-Key: ${NAME}"."""
    request: dict[str, Any] | None = None
    """What is sent, with "$body" once where the caller's body goes, and "$id" and "$model" where
    those do; left out: the body as it is."""
    response: str = ""
    """Where the output stands in the answer, such as result.0.text; left out: all of it."""
    error: str = ""
    """Where an answer of a good status holds an error; left out: it never does."""
    seconds: str = ""
    """Where the answer states the seconds that the model ran; left out: the call is timed."""
    device: str = ""
    """Where the answer states what the call ran on, such as meta.gpu, for a price ``by_device``."""
    statuses: dict[str, FailureName] = msgspec.field(default_factory=dict)
    """What a status of this server means where it is not what HTTP says."""
    words: dict[str, FailureName] = msgspec.field(default_factory=dict)
    """What a refusal says, and what that means whatever its status is; of several the first."""
    platform: bool = False
    """Whether a serverless platform runs the endpoint: where a refusal says that this is paused,
    not there, out of workers or of money, that is believed over the status."""
    stream_path: UrlPath | None = None
    """Where streamed calls go, answered with server-sent events; left out: it streams nothing."""
    health_path: UrlPath | None = None
    """Answers 200 while the server is ready; left out: it is taken to be."""
    openai: bool = False
    """The body is that of an OpenAI call and the output its answer; otherwise it takes /v1/infer
    calls alone."""
    slots: Count | None = None
    """The most calls that it runs at once."""

    def __post_init__(self) -> None:
        Origin(self.base_url)
        Template(self.request)
        for status in self.statuses:
            if not (status.isdecimal() and 100 <= int(status) <= 599):
                raise ValueError(f"{status} is no HTTP status")
        if not all(map(str.strip, self.words)):
            raise SettingError(("words",), "an empty text is in every refusal")


class HttpJson(HttpBackend):
    """A JSON endpoint, as the policy maps it."""

    Settings = HttpJsonSettings

    def __init__(self, name: str, settings: HttpJsonSettings, clock: Clock) -> None:
        secret = {name: value.reveal() for name, value in settings.secret_headers.items()}
        api = Api(
            settings.base_url,
            clock,
            settings,
            headers=merged(settings.headers, secret),
            secrets=tuple(settings.secret_headers.values()),
        )
        capabilities = Capabilities(
            tasks=ALL_TASKS if settings.openai else INFER_ONLY,
            streaming=settings.stream_path is not None,
        )
        super().__init__(name, api, capabilities)
        self._settings = settings
        self._template = Template(settings.request)
        self._meanings = {int(status): _CLASSES[s] for status, s in settings.statuses.items()}
        self._head = api.head(settings.method, settings.path)
        self._stream_head = api.head(settings.method, settings.stream_path or "", EVENTS)

    @property
    def slots(self) -> int | None:
        return self._settings.slots

    async def invoke(self, call: Call) -> Reply:
        if call.task not in self.capabilities.tasks or (
            call.stream and not self.capabilities.streaming
        ):
            what = f"{call.task} streams" if call.stream else f"{call.task} calls"
            raise takes_no(what)
        started = self._clock.monotonic()
        deadline = min(call.deadline, started + self._settings.timeout)
        body = self._template.render(call)
        if call.stream:
            return await self._stream(call, body, deadline, started)
        response = await self._api.client.request(self._head, body, deadline=deadline)
        self._check(response)
        return self._whole(call, response, self._clock.monotonic() - started)

    async def probe(self) -> Probe:
        path = self._settings.health_path
        if path is None:
            return Probe(ready=True, detail="not asked: there is no health_path", asked=False)
        try:
            response = await self._api.send("GET", path)
        except BackendError as error:
            return error.as_probe()
        ready = response.status == 200
        return Probe(ready=ready, detail="" if ready else f"{path} answers {response.status}")

    # --- inside ----------------------------------------------------------------------------

    def _whole(self, call: Call, response: Response, wall: float) -> Reply:
        kind = response.header(b"content-type") or "application/json"
        mapped = self._settings
        if (
            not (mapped.response or mapped.error or mapped.seconds or mapped.device)
            and "json" not in kind
        ):
            return output_in(response, Usage(exec_s=wall))
        body = response.body.strip()
        if not body and response.status == 204:
            body = b"null"
        check_output(body, "json", Usage(exec_s=wall))
        usage = _usage_in(body, mapped.seconds, wall)
        error = at_path(body, mapped.error) if mapped.error else None
        if error is not None and is_error(msgspec.Raw(error)):
            said = clean(words_in(value_in(error)), self._api.secrets)
            raise self._understood(
                BackendError(
                    FailureClass.FAILED, said or "The backend failed.", usage=usage, detail=said
                )
            )
        output = at_path(body, mapped.response)
        if output is None:
            raise self._understood(
                BackendError(
                    FailureClass.FAILED,
                    f"The backend's answer has no {mapped.response}.",
                    usage=usage,
                    detail=clean(words_in(value_of(body)), self._api.secrets),
                )
            )
        if call.task == "infer":
            usage = with_usage_told(body, usage)
        if mapped.device:
            usage = msgspec.structs.replace(usage, device=_text_at(body, mapped.device))
        return answer_of(output, call.task, usage, self._api.secrets)

    async def _stream(self, call: Call, body: bytes, deadline: float, started: float) -> Reply:
        answer = await self._api.client.stream(self._stream_head, body, deadline=deadline)
        good = 200 <= answer.status < 300 and answer.status not in self._meanings
        if not good:
            self._check(await answer.to_response())
        usage = Usage(exec_s=self._clock.monotonic() - started)
        return await stream_of(
            self._api,
            answer,
            call.task,
            usage,
            limit=self._settings.max_response,
            max_event=self._settings.max_event,
            asked=call.body,
        )

    def _check(self, response: Response) -> None:
        """Raises what a status means, unless it is a good one."""
        meaning = self._meanings.get(response.status)
        if meaning is None and 200 <= response.status < 300:
            return
        refused = self._api.refusal(response)
        error = self._understood(refused)
        if error is not refused:
            raise error
        if meaning is None or meaning is error.failure:
            raise error
        message = f"The backend answered with status {response.status}."
        if meaning not in OUR_MATTER:
            message = error.message
        raise error.reclassed(meaning, message)

    def _understood(self, error: BackendError) -> BackendError:
        """By what it says, where that is declared or speaks of the endpoint. It may repeat what the
        caller wrote, so one that could be everybody's matter blames neither."""
        said = error.detail.casefold()
        for words, name in self._settings.words.items():
            if words.casefold() in said:
                kind = _CLASSES[name]
                meant = error.reclassed(kind, OUR_MATTER.get(kind))
                if kind.fault is Fault.BACKEND and kind.ran is Ran.NO:
                    meant.fault = Fault.SUSPECT
                elif kind.ran is not Ran.NO:
                    meant.usage = error.usage
                return meant
        return about_the_endpoint(error) if self._settings.platform else error


class Template:
    """A request's JSON, cut where the call's own parts go. Raises ValueError for a bad one."""

    __slots__ = ("_parts",)

    def __init__(self, request: dict[str, Any] | None) -> None:
        self._parts: list[bytes] | None = None
        if request is None:
            return
        self._parts = _PLACES.split(msgspec.json.encode(request))
        if self._parts[1::2].count(b"body") != 1:
            raise ValueError('a request holds "$body" once, as a value')
        try:
            msgspec.json.decode(self._filled(b"0", b"0", b"0"))
        except UNREADABLE:
            raise ValueError('"$body", "$id" and "$model" are values, not keys') from None

    def render(self, call: Call) -> bytes:
        """The bytes to send. Raises INVALID for a body that is no JSON: what is spliced in must
        not be able to close what is around it."""
        read_input(call.body, msgspec.Raw, "The body is no JSON")
        if self._parts is None:
            return call.body
        return self._filled(
            call.body, msgspec.json.encode(call.id), msgspec.json.encode(call.model)
        )

    def _filled(self, body: bytes, id: bytes, model: bytes) -> bytes:
        values = {b"body": body, b"id": id, b"model": model}
        parts = self._parts or []
        return b"".join(values[part] if place % 2 else part for place, part in enumerate(parts))


def at_path(body: bytes, path: str) -> bytes | None:
    """What stands at a dotted path of a JSON text, its own bytes; None where nothing does."""
    found = body
    for step in path.split(".") if path else ():
        value = _stepped(found, step)
        if value is None:
            return None
        found = value
    return found


def _stepped(body: bytes, step: str) -> bytes | None:
    shape: Any = list[msgspec.Raw] if body.lstrip().startswith(b"[") else dict[str, msgspec.Raw]
    value = read_if(body, shape) or {}
    try:
        return bytes(value[int(step) if isinstance(value, list) else step])
    except (ValueError, LookupError):
        return None


def _text_at(body: bytes, path: str) -> str | None:
    stated = at_path(body, path)
    return None if stated is None else read_if(stated, str)


def _usage_in(body: bytes, path: str, wall: float) -> Usage:
    stated = at_path(body, path) if path else None
    try:
        ran = float(stated or b"")
    except ValueError:
        return Usage(exec_s=wall)
    return Usage(exec_s=ran, gpu_s=ran, reported=True)
