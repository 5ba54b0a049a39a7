"""Modal's own SDK, brought in when it is first needed: there is no other way to its functions.

The import takes 0.3 s and runs in a thread. The SDK keeps a loop in a thread of its own, and its
``.aio`` methods answer on ours. Two things are set for the whole process:

- ``MODAL_PAYLOAD_FORMAT=cbor``, where the environment says nothing else. A container answers in
  the format that it was asked in, so results are data and not programs.
- Whatever comes pickled all the same (exceptions, and all results of containers that know no
  CBOR) is read by ``Harmless``, which makes nothing but plain values and ``RemoteFailure``.

Read in modal 1.6.4; the protocol changes with each minor version, so that one is pinned.
Source: https://modal.com/docs/sdk/py/latest, and the package itself.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import importlib.util
import os
import pickle
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from adapters.modal.settings import ModalSettings

VERSIONS = "1.6."
"""The releases whose protocol this is written for."""
_CLIENT_TYPE = 1
"""``CLIENT_TYPE_CLIENT`` of the protocol: not a container."""
_SYNC_LEGACY = 1
"""``FUNCTION_CALL_INVOCATION_TYPE_SYNC_LEGACY``: what the SDK's own ``remote_gen`` submits as."""
_LOADING = threading.Lock()


class Uninstalled(Exception):
    """The SDK is missing, or of a version that this was not written for."""


class RemoteFailure(Exception):
    """Any exception of a remote function, whatever its type was there.

    It is a class of ours, so that a remote TimeoutError or StopAsyncIteration ends nothing here,
    and a remote SystemExit least of all.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> RemoteFailure:
        """What a pickle makes of a class that it brought along itself."""
        return RemoteFailure(*args)

    def __setstate__(self, state: Any) -> None:
        """Drops what a pickle would set."""


def stand_in(name: str) -> type[RemoteFailure]:
    """A class of ours in the place of one that a pickle names."""
    return type(name.rpartition(".")[2] or "RemoteFailure", (RemoteFailure,), {"__new__": _new})


def _new(cls: type[RemoteFailure], *args: Any, **kwargs: Any) -> RemoteFailure:
    """Takes whatever arguments the class that it stands for took."""
    failure: RemoteFailure = Exception.__new__(cls, *args)
    failure.args = args
    return failure


class Harmless(pickle.Unpickler):
    """Reads a pickle and runs nothing that it says: every class in it is a stand-in.

    In the place of ``modal._serialization.Unpickler``, with the same arguments.
    """

    def __init__(self, client: object, buffer: Any) -> None:
        super().__init__(buffer)

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in, whatever is named."""
        return stand_in(name)

    def persistent_load(self, pid: Any) -> Any:
        """Raises UnpicklingError: what it stands for would be asked of the platform."""
        raise pickle.UnpicklingError("a result holds a handle of the platform's")


@functools.cache
def load() -> Any:
    """The package ``modal``, imported once. Slow: for a thread. Raises Uninstalled."""
    if importlib.util.find_spec("modal") is None:
        raise Uninstalled("the package modal is not installed: pip install 'spillgate[modal]'")
    check_version(importlib.metadata.version("modal"))
    with _LOADING:
        return _imported()


def check_version(version: str) -> None:
    """Raises Uninstalled for a release whose protocol this was not written for."""
    if not version.startswith(VERSIONS):
        raise Uninstalled(f"modal {version} speaks another protocol: {VERSIONS}x is needed")


def _imported() -> Any:
    import modal
    import modal._serialization
    import modal.config

    modal._serialization.Unpickler = Harmless
    if "MODAL_PAYLOAD_FORMAT" not in os.environ:
        modal.config.config.override_locally("payload_format", "cbor")
    # A platform that has no room says so at once, and another backend is asked.
    modal.config.config.override_locally("max_throttle_wait", "0")
    return modal


class Session:
    """One connection to the platform, and the functions of one backend. Raises the SDK's errors."""

    def __init__(self, modal: Any, client: Any, settings: ModalSettings) -> None:
        self._modal = modal
        self._client = client
        self._settings = settings
        self._handles: dict[str, Any] = {}
        self._object: Any = None

    @classmethod
    async def open(cls, settings: ModalSettings) -> Session:
        """Connects. The credentials go to this client alone, and not into the environment."""
        modal = await asyncio.to_thread(load)
        assert settings.token_id is not None
        assert settings.token_secret is not None
        token = settings.token_id.reveal(), settings.token_secret.reveal()
        if settings.server_url is None:
            client = await modal.Client.from_credentials.aio(*token)
        else:
            client = modal.Client(settings.server_url, _CLIENT_TYPE, token)
            await client.__aenter__()
        return cls(modal, client, settings)

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close.aio()

    # --- functions -------------------------------------------------------------------------

    async def function(self, name: str) -> Any:
        """A function of the app, or a method of the class, looked up once."""
        handle = self._handles.get(name)
        if handle is None:
            handle = self._named(name)
            await handle.hydrate.aio()
            self._handles[name] = handle
        return handle

    def forget(self) -> None:
        """Looks up again what a deploy may have replaced."""
        self._handles.clear()
        self._object = None

    def _named(self, name: str) -> Any:
        modal, settings = self._modal, self._settings
        where = {"environment_name": settings.environment, "client": self._client}
        if settings.cls is None:
            return modal.Function.from_name(settings.app, name, **where)
        if self._object is None:
            cls = modal.Cls.from_name(settings.app, settings.cls, **where)
            self._object = cls(**settings.parameters)
        return getattr(self._object, name)

    # --- money -----------------------------------------------------------------------------

    async def app_id(self) -> str:
        """The platform's own name for the app. Makes none where there is none."""
        app = await self._modal.App.lookup.aio(
            self._settings.app,
            client=self._client,
            environment_name=self._settings.environment,
        )
        return str(app.app_id)

    async def billed(self, start: datetime, end: datetime, resolution: str) -> Sequence[Any]:
        """The workspace's billing report, which every object of it is in."""
        workspace = self._modal.Workspace.from_context(client=self._client)
        report: Sequence[Any] = await workspace.billing.report.aio(
            start=start, end=end, resolution=resolution
        )
        return report

    # --- calls -----------------------------------------------------------------------------

    async def spawn(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submits one call: a FunctionCall, which can be waited for and cancelled."""
        function = await self.function(name)
        return await function.spawn.aio(*args, **kwargs)

    def named(self, call_id: str) -> Any:
        """A call by the platform's own name for it. Asks nobody."""
        return self._modal.FunctionCall.from_id(call_id, self._client)

    async def start_generator(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, AsyncIterator[Any]]:
        """Submits one call of a generator: its FunctionCall, and what it yields.

        The SDK's ``remote_gen`` does the same two steps and keeps the call's name to itself, so
        that nobody could cancel it.
        """
        function = await self.function(name)
        start, items = _generators()
        invocation = await start(function, args, kwargs)
        return self.named(invocation.function_call_id), items(invocation)


@functools.cache
def _generators() -> tuple[Any, Any]:
    """What starts a generator, and what iterates it: on the SDK's loop, to be awaited on ours."""
    from modal._utils.async_utils import synchronize_api
    from modal.exception import InvalidError

    async def start(function: Any, args: Any, kwargs: Any) -> Any:
        if not await function._is_generator_:
            raise InvalidError("what takes streamed calls must be a generator")
        return await function._call_function_nowait(args, kwargs, _SYNC_LEGACY)

    async def items(invocation: Any) -> AsyncIterator[Any]:
        async for item in invocation.run_generator():
            yield item

    return synchronize_api(start).aio, synchronize_api(items).aio
