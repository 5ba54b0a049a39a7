"""A Potassium 0.5 app, unchanged but for the line that imports."""

import asyncio
import os
from collections.abc import Generator
from typing import Any

from local_runtime.potassium import Potassium, Request, Response, Store

app = Potassium("reverser")
store = Store(backend="memory")


@app.init
def init() -> dict[str, Any]:
    return {"calls": 0, "early": asyncio.run(_later(b"early"))}


@app.handler("/")
def handler(context: dict[str, Any], request: Request) -> Response:
    context["calls"] += 1
    return Response(
        json={
            "reversed": request.json["text"][::-1],
            "calls": context["calls"],
            "id": request.id,
            "key": request.headers["x_banana_api_key"],
        },
        status=200,
    )


@app.handler("/teapot")
def teapot(context: dict[str, Any], request: Request) -> Response:
    return Response(json={"short": "stout"}, status=418, headers={"X-Spout": "left"})


@app.handler("/untyped")
def untyped(context: dict[str, Any], request: Request) -> Response:
    return Response(body=b"<p>hi</p>", status=request.json["status"])


@app.handler("/pieces")
def pieces(context: dict[str, Any], request: Request) -> Response:
    return Response(body=(b"%d" % number for number in range(3)), status=request.json["status"])


@app.handler("/nested")
def nested(context: dict[str, Any], request: Request) -> Response:
    """By way of a client that is written for asyncio."""
    return Response(body=asyncio.run(_later(b"c")))


@app.handler("/nested/stream")
def nested_stream(context: dict[str, Any], request: Request) -> Response:
    def slowly() -> Generator[bytes, None, None]:
        for text in (b"a", b"b"):
            yield asyncio.run(_later(text))

    return Response(body=slowly())


async def _later(text: bytes) -> bytes:
    await asyncio.sleep(0)
    return text


@app.handler("/broken")
def broken(context: dict[str, Any], request: Request) -> Response:
    raise ValueError("secret of the model")


@app.handler("/plain")
def plain(context: dict[str, Any], request: Request) -> Response:
    return Response(body=b"\x00\xffplain", headers={"Content-Type": "application/x-plain"})


@app.handler("/stream")
def stream(context: dict[str, Any], request: Request) -> Response:
    def pieces() -> Generator[bytes, None, None]:
        for number in range(request.json["pieces"]):
            if number == request.json.get("fail_at"):
                raise ValueError("secret of the model")
            yield b"%d," % number

    return Response(body=pieces(), headers={"Content-Type": "text/plain", "Connection": "close"})


@app.handler("/wrong")
def wrong(context: dict[str, Any], request: Request) -> str:
    return "not a Response"


@app.background("/background")
def background(context: dict[str, Any], request: Request) -> None:
    store.set("result", {"text": request.json["text"]}, ttl=60)


@app.handler("/result")
def result(context: dict[str, Any], request: Request) -> Response:
    return Response(json={"result": store.get("result")})


if __name__ == "__main__":
    app.serve(port=int(os.environ.get("PORT", "8000")))
