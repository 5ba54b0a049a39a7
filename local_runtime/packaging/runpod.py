"""A RunPod worker: https://docs.runpod.io/serverless/workers/handlers/overview"""

from __future__ import annotations

from string import Template

from local_runtime.packaging.contents import Package

_HEAD = '''\
"""RunPod's worker around $app, written by `spillgate package`.

A job's input is the request of $route; {"openai_route": ..., "openai_input": ...} names another
route; {"spillgate_ping": true} keeps the worker awake and costs nothing.
"""

from __future__ import annotations

import json
${imports}from pathlib import Path
from typing import Any

import runpod

from local_runtime import InvalidInput
from local_runtime.hosted import Hosted

APP = Path(__file__).with_name("$file")
ROUTE = "$route"
CONCURRENCY = $slots


def asked_of(job: dict[str, Any]) -> tuple[str, Any]:
    """The route and the request."""
    asked = job["input"]
    if isinstance(asked, dict) and "openai_route" in asked:
        return asked["openai_route"], asked["openai_input"]
    return ROUTE, asked


def refusal(invalid: InvalidInput) -> dict[str, str]:
    """RunPod's error is a text: OpenAI's error object goes into it."""
    kind = "invalid_request_error"
    error = {"message": invalid.message, "type": kind, "param": invalid.param, "code": 400}
    return {"error": json.dumps(error)}


'''
_WHOLE = """\
def handler_for(app: Hosted) -> Any:
    async def handle(job: dict[str, Any]) -> Any:
        route, request = asked_of(job)
        if request == {"spillgate_ping": True}:
            return {"pong": True}
        try:
            return await app.acall(route, request, id=job["id"])
        except InvalidInput as invalid:
            return refusal(invalid)

    return handle


"""
_STREAM = '''\
def handler_for(app: Hosted) -> Any:
    async def handle(job: dict[str, Any]) -> AsyncIterator[Any]:
        route, request = asked_of(job)
        if request == {"spillgate_ping": True}:
            yield {"pong": True}
            return
        try:
            async for item in answers(app, route, request, job["id"]):
                yield item
        except InvalidInput as invalid:
            yield refusal(invalid)

    return handle


async def answers(app: Hosted, route: str, request: Any, id: str) -> AsyncIterator[Any]:
    """Pieces; in OpenAI's dialect as events, and only for a request that asks for a stream."""
    if not route.startswith("/v1/"):
        async for item in app.apieces(route, request, id=id):
            yield item
    elif request.get("stream"):
        async for item in app.apieces(route, request, id=id):
            yield f"data: {json.dumps(item)}\\n\\n"
        yield "data: [DONE]\\n\\n"
    else:
        yield await app.acall(route, request, id=id)


'''
_TAIL = """\
def main() -> None:
    app = Hosted(f"{APP}:$attribute")
    options = {"concurrency_modifier": lambda _: CONCURRENCY$aggregate}
    runpod.serverless.start({"handler": handler_for(app), **options})


if __name__ == "__main__":
    main()
"""
_DOCKERFILE = """\
# Assumed: $base.
FROM $image
WORKDIR /worker
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
CMD ["python", "-u", "handler.py"]
"""


def files(package: Package) -> dict[str, str]:
    """File name -> text."""
    given = {
        "app": package.app,
        "file": package.file,
        "attribute": package.attribute,
        "route": package.route,
        "slots": str(package.slots),
        "imports": "from collections.abc import AsyncIterator\n" if package.streams else "",
        "aggregate": ', "return_aggregate_stream": True' if package.streams else "",
        "image": f"python:{package.python}-slim",
        "base": "wheels bring CUDA's libraries with them, as torch's do; the driver is the host's",
    }
    handler = _HEAD + (_STREAM if package.streams else _WHOLE) + _TAIL
    return {
        "handler.py": Template(handler).substitute(given),
        "Dockerfile": Template(_DOCKERFILE).substitute(given),
        "requirements.txt": "\n".join((*package.requirements, "runpod>=1.12,<2")) + "\n",
    }
