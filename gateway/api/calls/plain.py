"""What is answered whole: images, sound, ranks, moderations, scores, tokens; JSON or forms.

Of a body only what the gateway acts on is read. Of a form with files that is its fields, and that
it is whole; the files' bytes are nobody's business here but for their number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from adapters.forms import FormPart, boundary_of, parts_of, texts_of, with_text
from adapters.images import image_kind
from adapters.routes import PLAIN_ROUTES
from adapters.types import ANY_IMAGE, ASKED_OF, FORMS, JSON_TYPE, ImageKind, Task
from gateway.active_policy import ActivePolicy
from gateway.api.calls.call_requests import serve
from gateway.api.calls.openai import invalid_field
from gateway.api.calls.wrong_endpoint import wrong_endpoint
from gateway.api.requests.bodies import DecidingKeys, check_utf8, malformed, read_body
from gateway.api.requests.queries import whole_number
from gateway.api.requests.request import (
    ParsedRequest,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
)
from gateway.dialects.shown_names import encoded, renamed
from gateway.jobs.digests import AsSent
from gateway.money.inputs import TEXT_ALONE, InputParts, PartKind
from gateway.policy.model import ModelSpec
from gateway.service import Gateway
from gateway.types import ApiError, Principal

_MOST_IMAGES = 1000


class PlainBody(msgspec.Struct, frozen=True):
    """What is read of a body of any of these."""

    model: str
    n: int | None = None
    stream: bool | None = None
    size: Any = None
    """Of an image; what is no text is its server's business."""
    quality: Any = None


_decode = msgspec.json.Decoder(PlainBody).decode
_DECIDING = DecidingKeys(frozenset(PlainBody.__struct_fields__))


class Sent(NamedTuple):
    """A body, and what it is."""

    body: bytes
    content_type: str


class PlainEndpoint:
    """POST of one task. Raises ApiError 400 for a body that cannot be read, is cut off, or names a
    model that does something else; 404 for an unknown model."""

    def __init__(self, gateway: Gateway, task: Task) -> None:
        self._gateway = gateway
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        active = self._gateway.active
        body = await read_body(self._gateway, context, receive)
        sent = Sent(body, type_of(context))
        parsed = parsed_plain(active, context.principal, self._task, sent)
        await serve(self._gateway, context, parsed, receive, send)


def type_of(context: RequestContext) -> str:
    """The Content-Type of a request: that of JSON, where it is no form's."""
    given = context.headers.get(b"content-type", b"").decode("latin-1")
    is_form = given.isprintable() and boundary_of(given) is not None
    return given if is_form else JSON_TYPE


def parsed_plain(
    active: ActivePolicy, principal: Principal, task: Task, sent: Sent
) -> ParsedRequest:
    """A body of one of these tasks, as far as the gateway acts on it. Raises ApiError 400 and
    404."""
    boundary = boundary_of(sent.content_type)
    read, parts = _of_json(task, sent.body) if boundary is None else _of_form(sent.body, boundary)
    spec = active.model(read.model, principal)
    if task != "tokenize" and spec.task != ASKED_OF.get(task, task):
        raise wrong_endpoint(read.model, spec, ASKED_OF.get(task, task))
    if read.stream:
        raise _no_streams(task)
    model, shown, body = active.target(read.model, principal), "", sent.body
    as_sent = None
    if model != read.model:
        shown, body = read.model, _renamed(body, boundary, model)
        as_sent = AsSent(read.model, sent.body)
    images = _images(read.n, spec)
    return ParsedRequest(
        model,
        task,
        body,
        False,
        False,
        _writes(task, spec, images),
        parts=parts,
        shown=shown,
        content_type=sent.content_type,
        images=images,
        image=_kind(read),
        sent=as_sent,
    )


def _writes(task: Task, spec: ModelSpec, images: int) -> int:
    """The most tokens of its answer: of images too where these are made of tokens."""
    if task in _DRAWS:
        return spec.max_output_tokens * (images or spec.max_images)
    return spec.max_output_tokens if task in _HEARS else 0


_DRAWS = ("images", "image_edits")
_HEARS = ("transcriptions", "translations")


def _kind(read: PlainBody) -> ImageKind:
    if read.size is None and read.quality is None:
        return ANY_IMAGE
    return image_kind(read.size, read.quality)


def images_in(body: bytes, spec: ModelSpec) -> tuple[int, ImageKind]:
    """How many images a body of JSON asks for, and which. Raises ApiError 400."""
    read, _ = _of_json("images", body)
    return _images(read.n, spec), _kind(read)


def _images(n: int | None, spec: ModelSpec) -> int:
    """How many images are asked for; 0 where nobody says."""
    if n is not None and not 1 <= n <= _MOST_IMAGES:
        raise _bad_n()
    if n is not None and spec.cap_images and n > spec.max_images:
        said = f"'n' is at most {spec.max_images} for this model: ask for the rest in another call."
        raise ApiError(400, "invalid_field", said, param="n")
    return n or 0


def _bad_n() -> ApiError:
    said = f"'n' is a whole number, 1 to {_MOST_IMAGES}."
    return ApiError(400, "invalid_field", said, param="n")


def _no_streams(task: Task) -> ApiError:
    return ApiError(
        400,
        "unsupported",
        f"Answers of {PLAIN_ROUTES[task]} are whole here: leave `stream` out.",
        param="stream",
    )


def _of_json(task: Task, body: bytes) -> tuple[PlainBody, InputParts]:
    if task in FORMS and body[:16].lstrip()[:1] != b"{":
        raise ApiError(
            400,
            "invalid_body",
            "This takes a form: Content-Type multipart/form-data with its boundary.",
            param="Content-Type",
        )
    check_utf8(body)
    try:
        read = _decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, body) from None
    _DECIDING.check(body)
    return read, TEXT_ALONE


def _of_form(body: bytes, boundary: bytes) -> tuple[PlainBody, InputParts]:
    try:
        parts = parts_of(body, boundary)
        texts = texts_of(body, parts)
    except ValueError as error:
        raise ApiError(
            400, "invalid_body", f"The form is not what its Content-Type says: {error}."
        ) from None
    for name in PlainBody.__struct_fields__:
        if sum(part.name == name for part in parts) > 1:
            raise ApiError(
                400,
                "ambiguous_field",
                f"{name!r} stands in the form more than once; write it once.",
                param=name,
            )
    if not texts.get("model"):
        raise ApiError(400, "missing_field", "'model' is missing from the form.", param="model")
    n = texts.get("n", "")
    images = whole_number(n, 1, _MOST_IMAGES) if n else None
    if n and images is None:
        raise _bad_n()
    stream = texts.get("stream", "").strip().lower() in ("true", "1")
    size, quality = texts.get("size"), texts.get("quality")
    read = PlainBody(texts["model"], images, stream, size, quality)
    return read, _files(parts)


def _files(parts: list[FormPart]) -> InputParts:
    """What files hold is no text: it is counted by the policy's figure for each."""
    files = [part for part in parts if part.is_file]
    if not files:
        return TEXT_ALONE
    kinds: dict[PartKind, int] = {}
    for part in files:
        kind: PartKind = "image" if part.name.startswith(("image", "mask")) else "audio"
        kinds[kind] = kinds.get(kind, 0) + 1
    return InputParts(tuple(kinds.items()), sum(part.end - part.start for part in files))


def _renamed(body: bytes, boundary: bytes | None, model: str) -> bytes:
    if boundary is None:
        return renamed(body, encoded(model))
    return with_text(body, boundary, "model", model)
