"""An object store, small: it takes and gives what botocore's own signer says was signed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

REGION = "eu-test-1"


class ObjectStore:
    def __init__(self, key_id: str, secret: str) -> None:
        self._credentials = Credentials(key_id, secret)
        self.objects: dict[str, tuple[str, bytes]] = {}
        self.puts = 0
        self.refuses = False

    def app(self) -> Starlette:
        methods = ["GET", "PUT", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self.handle, methods=methods)])

    async def handle(self, request: Request) -> Response:
        if self.refuses or not self._is_signed(request.method, str(request.url)):
            return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", 403)
        path = request.path_params["path"]
        if request.method == "PUT":
            self.puts += 1
            self.objects[path] = (request.headers.get("content-type", ""), await request.body())
            return Response()
        if path not in self.objects:
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404)
        if request.method == "DELETE":
            del self.objects[path]
            return Response(status_code=204)
        kind, data = self.objects[path]
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        if start and start >= len(data):
            return Response(status_code=416)
        return Response(data[start:], 206 if start else 200, media_type=kind)

    def _is_signed(self, method: str, url: str) -> bool:
        given = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        if "X-Amz-Signature" not in given or expired(given):
            return False
        return given["X-Amz-Signature"] == signature(
            self._credentials,
            method,
            url.partition("?")[0],
            stamp=given["X-Amz-Date"],
            seconds=int(given["X-Amz-Expires"]),
        )


def expired(given: dict[str, str]) -> bool:
    signed = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return signed.timestamp() + int(given["X-Amz-Expires"]) < time.time()


def signature(credentials: Credentials, method: str, url: str, *, stamp: str, seconds: int) -> str:
    """What botocore signs a request with at an instant of ours."""
    signer = S3SigV4QueryAuth(credentials, "s3", REGION, expires=seconds)
    request = AWSRequest(method=method, url=url)
    request.context["timestamp"] = stamp
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))
