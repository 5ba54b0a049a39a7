"""A Potassium app that does what its input says, on Potassium itself or on this project's runtime.

{"echo": x}           answers {"echo": x}
{"sleep": s}          waits first
{"fail": text}        raises ValueError(text)
{"status": n}         answers with that status
{"who": true}         answers with the call's id and the key that came with it
/stream               {"pieces": n} puts out n pieces of text, then {"fail": text} raises
/background           runs in the background; {"note": path} writes there when it has ended

$STAGE_NOTES is a folder in which a file stands for every call that runs. With $STAGE_INIT the
app's init waits until that file is there.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

GENUINE = "--genuine" in sys.argv
if TYPE_CHECKING or not GENUINE:
    from local_runtime.potassium import Potassium, Request, Response
else:
    from potassium import Potassium, Request, Response

NOTES = Path(os.environ.get("STAGE_NOTES", "."))
app = Potassium("stage")


@app.init
def init(*_: Any) -> dict[str, Any]:
    awaited = os.environ.get("STAGE_INIT")
    while awaited and not Path(awaited).exists():
        time.sleep(0.02)
    return {}


@contextlib.contextmanager
def noted(request: Request) -> Iterator[None]:
    note = NOTES / f"{os.getpid()}-{request.id}.running"
    note.touch()
    try:
        yield
    finally:
        note.unlink()


def answer(request: Request) -> Response:
    asked = request.json
    if "fail" in asked:
        raise ValueError(asked["fail"])
    found = {"echo": asked.get("echo")}
    if "who" in asked:
        found = {"id": request.id, "key": request.headers.get("X-Banana-API-Key")}
    return Response(json=found, status=asked.get("status", 200))


def at_once(context: dict[str, Any], request: Request) -> Response:
    with noted(request):
        time.sleep(request.json.get("sleep", 0))
        return answer(request)


async def later(context: dict[str, Any], request: Request) -> Response:
    with noted(request):
        await asyncio.sleep(request.json.get("sleep", 0))
        return answer(request)


if GENUINE:
    app.handler("/")(at_once)
else:
    app.handler("/", concurrency=32)(later)


@app.handler("/stream")
def stream(context: dict[str, Any], request: Request) -> Response:
    def pieces() -> Generator[bytes, None, None]:
        with noted(request):
            for number in range(request.json["pieces"]):
                yield f"{number} é ".encode()
                time.sleep(request.json.get("pause", 0.02))
            if "fail" in request.json:
                raise ValueError(request.json["fail"])

    return Response(body=pieces(), headers={"Content-Type": "text/plain"})


@app.background("/background")
def background(context: dict[str, Any], request: Request) -> dict[str, Any]:
    if "begin" in request.json:
        Path(request.json["begin"]).touch()
    ends = time.monotonic() + request.json.get("sleep", 0)
    while time.monotonic() < ends and not getattr(request, "cancelled", False):
        time.sleep(0.01)
    if "fail" in request.json:
        raise ValueError(request.json["fail"])
    if "note" in request.json:
        Path(request.json["note"]).write_text(request.id)
    return {"done": request.json.get("echo")}


if __name__ == "__main__":
    app.serve(host="127.0.0.1", port=int(os.environ["PORT"]))
