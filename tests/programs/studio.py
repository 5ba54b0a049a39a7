"""An app whose handlers say what they take: typed inputs, forms, files in and out."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import BaseModel

from local_runtime import Batch, File, Request, Response, Runtime

app = Runtime("studio")


class Ask(msgspec.Struct):
    text: str
    times: int = 1


class Answer(msgspec.Struct):
    text: str


class Sum(BaseModel):
    a: float
    b: float


class Total(BaseModel):
    total: float


class Edit(msgspec.Struct):
    prompt: str
    image: File
    n: int = 1


@app.handler("/", warmup={"text": "hello"})
def shout(context: Any, request: Request[Ask]) -> Answer:
    """Says a text louder.

    As often as one likes."""
    return Answer(text=request.json.text.upper() * request.json.times)


@app.handler("/sum", batch=Batch(max_size=4))
def add(context: Any, requests: list[Request[Sum]]) -> list[Total]:
    return [Total(total=request.json.a + request.json.b) for request in requests]


@app.handler("/v1/images/edits")
def edit(context: Any, request: Request[Edit]) -> Any:
    asked = request.json
    return {"created": 1, "data": [{"url": f"{asked.prompt}/{len(asked.image.data)}"}] * asked.n}


@app.handler("/v1/audio/transcriptions")
def transcribe(context: Any, request: Request) -> Any:
    sound = request.file("file")
    return {"text": f"{len(sound.data)} bytes of {sound.name} by {request.json['model']}"}


@app.handler("/v1/audio/speech")
def speak(context: Any, request: Request) -> Response:
    return Response(body=request.json["input"].encode(), headers={"Content-Type": "audio/mpeg"})


@app.handler("/mirror")
def mirror(context: Any, request: Request) -> Response:
    """Gives a file back as it came."""
    file = request.file()
    return Response(body=file.data, headers={"Content-Type": file.content_type})


@app.background("/v1/later")
def later(context: Any, request: Request[Ask]) -> Any:
    return {"text": request.json.text}
