"""LitServe's face on this runtime: an app for LitServe runs with its import line changed.

    import local_runtime.litserve as ls

    class Squares(ls.LitAPI):
        def setup(self, device):
            self.power = 2

        def predict(self, x):
            return x["input"] ** self.power

    if __name__ == "__main__":
        ls.LitServer(Squares(max_batch_size=4)).run(port=8000)

The names and their arguments are LitServe's (https://lightning.ai/docs/litserve/api-reference). Of
a ``LitAPI`` these are called: ``setup``, ``decode_request``, ``batch``, ``predict``, ``unbatch``
and ``encode_response``. What is not here: specs, callbacks, loggers, middlewares and several APIs
in one server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from local_runtime.app.request import Request
from local_runtime.app.runtime import Batch, Runtime

__all__ = ["LitAPI", "LitServer"]

_SETTINGS = "SPILLGATE_LITSERVE"
"""What the program that runs has given to its API, for the workers that import the same file."""


class Given(msgspec.Struct, frozen=True):
    """How an API is served."""

    max_batch_size: int = 1
    batch_timeout: float = 0.0
    api_path: str = "/predict"
    stream: bool = False
    timeout: float = 600.0


class LitAPI:
    """What a model's developer subclasses."""

    def __init__(
        self,
        max_batch_size: int = 1,
        batch_timeout: float = 0.0,
        api_path: str = "/predict",
        stream: bool = False,
        **beside: Any,
    ) -> None:
        """Raises TypeError for an argument that is not here."""
        if beside:
            raise TypeError(f"{type(self).__name__}: not here: {', '.join(sorted(beside))}")
        self.given = Given(max_batch_size, batch_timeout, api_path, stream)

    def setup(self, device: str) -> None:
        """Loads the model, once in each worker; ``device`` is such as ``cuda:0``."""

    def decode_request(self, request: Any) -> Any:
        """The caller's JSON as ``predict`` wants it."""
        return request

    def batch(self, inputs: list[Any]) -> Any:
        """Several inputs as one."""
        return inputs

    def predict(self, x: Any) -> Any:
        """The model's work; a generator where the API streams."""
        raise NotImplementedError(f"{type(self).__name__} has no predict")

    def unbatch(self, output: Any) -> Sequence[Any]:
        """One output as several."""
        return list(output)

    def encode_response(self, output: Any) -> Any:
        """What the caller is answered; where the API streams, of the generator, a generator."""
        return output

    @classmethod
    def as_runtime(cls) -> Runtime:
        """The app, of a file that names the class alone."""
        told = os.environ.get(_SETTINGS)
        api = cls()
        if told is not None:
            api.given = msgspec.json.decode(told, type=Given)
        return app_of(api)


class LitServer:
    """One API over HTTP."""

    def __init__(
        self,
        lit_api: LitAPI,
        accelerator: str = "auto",
        devices: int | str = "auto",
        workers_per_device: int = 1,
        timeout: float | bool = 30,
        max_batch_size: int | None = None,
        batch_timeout: float | None = None,
        api_path: str | None = None,
        stream: bool | None = None,
    ) -> None:
        """``timeout`` is in seconds, False for none: then a call ends after 10 minutes."""
        changed = {
            "max_batch_size": max_batch_size,
            "batch_timeout": batch_timeout,
            "api_path": api_path,
            "stream": stream,
            "timeout": float(timeout) if timeout and timeout is not True else 600.0,
        }
        told = {name: value for name, value in changed.items() if value is not None}
        lit_api.given = msgspec.structs.replace(lit_api.given, **told)
        self.lit_api = lit_api
        self._device = accelerator if accelerator in ("cpu", "mps") else "auto"
        self._workers = workers_per_device * (devices if isinstance(devices, int) else 1)

    def as_runtime(self) -> Runtime:
        """The app, of a file that has the server as a global."""
        return app_of(self.lit_api)

    def run(self, host: str = "127.0.0.1", port: int = 8000, **beside: Any) -> None:
        """Serves until a signal ends it, then exits the process; does nothing in a worker, which
        imports the same file. LitServe listens on every address; here ``0.0.0.0`` must be asked
        for."""
        if "SPILLGATE_WORKER" in os.environ:
            return
        from local_runtime.server.serve import Options, serve

        file = getattr(sys.modules["__main__"], "__file__", None)
        if file is None:
            raise RuntimeError("server.run() is for an API whose class stands in a file")
        os.environ[_SETTINGS] = msgspec.json.encode(self.lit_api.given).decode()
        name = f"{Path(file).resolve()}:{type(self.lit_api).__name__}"
        options = Options(
            app=name, host=host, port=port, workers=self._workers, device=self._device
        )
        sys.exit(serve(options))


class _Calls:
    """The API in a worker."""

    def __init__(self, api: LitAPI) -> None:
        self._api = api

    def init(self) -> dict[str, Any]:
        self._api.setup(os.environ.get("SPILLGATE_DEVICE", "cpu"))
        return {}

    def one(self, context: dict[str, Any], request: Request) -> Any:
        api = self._api
        return api.encode_response(api.predict(api.decode_request(request.json)))

    def pieces(self, context: dict[str, Any], request: Request) -> Iterator[Any]:
        yield from self.one(context, request)

    def several(self, context: dict[str, Any], requests: list[Request]) -> list[Any]:
        api = self._api
        inputs = [api.decode_request(request.json) for request in requests]
        outputs = api.unbatch(api.predict(api.batch(inputs)))
        return [api.encode_response(output) for output in outputs]


def app_of(api: LitAPI) -> Runtime:
    """A Runtime that serves the API at its path, and at ``/`` where that is another. Raises
    ValueError for a batch of streams."""
    given, calls = api.given, _Calls(api)
    app = Runtime(type(api).__name__)
    app.init(calls.init)
    batch = None
    function: Any = calls.pieces if given.stream else calls.one
    if given.max_batch_size > 1:
        if given.stream:
            raise ValueError(f"{app.name}: streams are not batched here: write a stepper")
        batch = Batch(max_size=given.max_batch_size, max_wait_s=given.batch_timeout)
        function = calls.several
    for route in dict.fromkeys((given.api_path, "/")):
        app.handler(route, batch=batch, timeout=given.timeout)(function)
    return app
