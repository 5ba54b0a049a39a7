"""Modal's API on 127.0.0.1: a server on the base class in Modal's own package, driven by its SDK.

It runs the Python functions that it is given, each in a thread, keeps their results, streams what
generators yield, and can be told to fail a request. Messages are typed by Modal's protocol.
"""

# ruff: noqa: N802 - the names of Modal's requests

from __future__ import annotations

import asyncio
import contextlib
import inspect
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import cbor2
from google.protobuf import empty_pb2
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal._utils.grpc_testing import patch_mock_servicer
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

from tests.live import free_port

SUCCESS = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
FAILURE = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
TIMEOUT = api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT
INTERNAL_FAILURE = api_pb2.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE
TERMINATED = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
PICKLE, CBOR = api_pb2.DATA_FORMAT_PICKLE, api_pb2.DATA_FORMAT_CBOR
GENERATOR = api_pb2.Function.FUNCTION_TYPE_GENERATOR
PLAIN = api_pb2.Function.FUNCTION_TYPE_FUNCTION


class Ended(Exception):
    """Raised by a function that means to end as the platform would end it."""

    def __init__(self, status: Any, said: str = "") -> None:
        super().__init__(said)
        self.status = status


class Running:
    """One call: its thread, what it yielded, and its result once it has one."""

    def __init__(self, name: str, data_format: Any) -> None:
        self.name = name
        self.format = data_format
        self.cancelled = threading.Event()
        self.items: list[bytes] = []
        self.result: tuple[api_pb2.GenericResult, int] | None = None
        self.forgotten = False
        self.changed = asyncio.Event()

    def encoded(self, value: Any) -> bytes:
        dumped: bytes = pickle.dumps(value) if self.format == PICKLE else cbor2.dumps(value)
        return dumped


class ModalPlatform:
    """``functions`` by name; ``Cls.method`` for a method. A function may take ``cancelled`` as a
    keyword of that name: the event that says that its call was cancelled."""

    def __init__(self, functions: dict[str, Callable[..., Any]], token: tuple[str, str]) -> None:
        self.functions = functions
        self.token = token
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.formats = [PICKLE, CBOR]
        self.seen: list[str] = []
        self.submits: list[api_pb2.FunctionMapRequest] = []
        self.scaling: list[dict[str, int]] = []
        self.failures: dict[str, deque[Exception]] = {}
        self.calls: dict[str, Running] = {}
        self.blobs: dict[str, bytes] = {}
        self.upload_url = ""
        self.gates: dict[str, threading.Event] = {}
        self.bound: list[Any] = []
        self.stats = {"backlog": 0, "num_total_tasks": 1}
        self.report: list[api_pb2.WorkspaceBillingReportItem] = []
        self.reports: list[api_pb2.WorkspaceBillingReportRequest] = []

    @property
    def running(self) -> int:
        return sum(call.result is None for call in list(self.calls.values()))

    def fail(self, rpc: str, *errors: Exception) -> None:
        """The next calls of an RPC raise these, one each."""
        self.failures.setdefault(rpc, deque()).extend(errors)

    def count(self, rpc: str) -> int:
        return self.seen.count(rpc)


@patch_mock_servicer
class Servicer(ModalClientBase):  # type: ignore[misc]
    def __init__(self, platform: ModalPlatform) -> None:
        self.platform = platform

    async def _begin(self, rpc: str, stream: Any) -> Any:
        self.platform.seen.append(rpc)
        failures = self.platform.failures.get(rpc)
        if failures:
            raise failures.popleft()
        sent = stream.metadata.get("x-modal-token-id"), stream.metadata.get("x-modal-token-secret")
        if sent != self.platform.token:
            raise GRPCError(Status.UNAUTHENTICATED, f"no such token: {sent}")
        request = await stream.recv_message()
        if rpc in self.platform.gates:
            await asyncio.to_thread(self.platform.gates[rpc].wait, 20)
        return request

    # --- look-ups --------------------------------------------------------------------------

    async def FunctionGet(self, stream: Any) -> None:
        request = await self._begin("FunctionGet", stream)
        names = [request.object_tag]
        if request.object_tag.endswith(".*"):
            names = [n for n in self.platform.functions if n.startswith(request.object_tag[:-1])]
        if not names or (len(names) == 1 and names[0] not in self.platform.functions):
            raise GRPCError(Status.NOT_FOUND, f"no function {request.object_tag}")
        await stream.send_message(self._described(request.object_tag, names))

    async def ClassGet(self, stream: Any) -> None:
        await self._begin("ClassGet", stream)
        metadata = api_pb2.ClassHandleMetadata()
        await stream.send_message(
            api_pb2.ClassGetResponse(class_id="cs-1", handle_metadata=metadata)
        )

    async def FunctionBindParams(self, stream: Any) -> None:
        request = await self._begin("FunctionBindParams", stream)
        self.platform.bound.append(pickle.loads(request.serialized_params))
        tag = request.function_id.removeprefix("fu-")
        names = [name for name in self.platform.functions if name.startswith(tag[:-1])]
        described = self._described(tag, names)
        await stream.send_message(
            api_pb2.FunctionBindParamsResponse(
                bound_function_id=described.function_id, handle_metadata=described.handle_metadata
            )
        )

    def _described(self, tag: str, names: list[str]) -> api_pb2.FunctionGetResponse:
        methods = {}
        if tag.endswith(".*"):
            methods = {name.partition(".")[2]: self._metadata(name) for name in names}
        metadata = self._metadata(tag, methods)
        response = api_pb2.FunctionGetResponse(function_id=f"fu-{tag}", handle_metadata=metadata)
        response.function.ranked_functions.add().function.function_name = tag
        return response

    def _metadata(
        self, tag: str, methods: dict[str, api_pb2.FunctionHandleMetadata] | None = None
    ) -> api_pb2.FunctionHandleMetadata:
        function = self.platform.functions.get(tag)
        streams = function is not None and inspect.isgeneratorfunction(function)
        metadata = api_pb2.FunctionHandleMetadata(
            function_name=tag,
            function_type=GENERATOR if streams else PLAIN,
            is_method="." in tag and not tag.endswith(".*"),
            use_method_name="" if methods is not None else tag.partition(".")[2],
            supported_input_formats=self.platform.formats,
            max_object_size_bytes=2 * 1024 * 1024,
        )
        for name, described in (methods or {}).items():
            metadata.method_handle_metadata[name].CopyFrom(described)
        return metadata

    # --- calls -----------------------------------------------------------------------------

    async def FunctionMap(self, stream: Any) -> None:
        request = await self._begin("FunctionMap", stream)
        self.platform.submits.append(request)
        item = request.pipelined_inputs[0].input
        name = request.function_id.removeprefix("fu-")
        if item.method_name:
            name = f"{name.removesuffix('.*')}.{item.method_name}"
        call_id = f"fc-{len(self.platform.calls)}"
        call = self.platform.calls[call_id] = Running(name, item.data_format)
        encoded = self.platform.blobs[item.args_blob_id] if item.args_blob_id else item.args
        args, kwargs = (pickle.loads if item.data_format == PICKLE else cbor2.loads)(encoded)
        self._run(call, args, kwargs)
        response = api_pb2.FunctionMapResponse(function_call_id=call_id, function_call_jwt="jwt")
        response.pipelined_inputs.add(idx=0, input_id="in-1", input_jwt="jwt")
        await stream.send_message(response)

    def _run(self, call: Running, args: Any, kwargs: Any) -> None:
        function = self.platform.functions[call.name]
        loop = asyncio.get_running_loop()
        if "cancelled" in inspect.signature(function).parameters:
            kwargs = {**kwargs, "cancelled": call.cancelled}

        def change(what: Callable[[], None]) -> None:
            what()
            call.changed.set()

        def tell(what: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the platform has been closed meanwhile
                loop.call_soon_threadsafe(change, what)

        def run() -> None:
            result = _outcome(call, function, args, kwargs, tell)
            tell(lambda: _end(call, result))

        threading.Thread(target=run, daemon=True).start()

    async def FunctionGetOutputs(self, stream: Any) -> None:
        request = await self._begin("FunctionGetOutputs", stream)
        call = self.platform.calls[request.function_call_id]
        await _until(lambda: call.result is not None, call, request.timeout)
        response = api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        if call.forgotten:
            response.num_unfinished_inputs = 0
        elif call.result is not None:
            result, data_format = call.result
            response.num_unfinished_inputs = 0
            response.outputs.add(result=result, data_format=data_format, input_id="in-1")
        await stream.send_message(response)

    async def FunctionCallGetDataOut(self, stream: Any) -> None:
        request = await self._begin("FunctionCallGetDataOut", stream)
        call = self.platform.calls[request.function_call_id]
        index = request.last_index
        while True:
            while index < len(call.items):
                index += 1
                await stream.send_message(
                    api_pb2.DataChunk(
                        index=index, data=call.items[index - 1], data_format=call.format
                    )
                )
            if call.result is not None:
                return
            call.changed.clear()
            await call.changed.wait()

    async def FunctionCallCancel(self, stream: Any) -> None:
        request = await self._begin("FunctionCallCancel", stream)
        call = self.platform.calls[request.function_call_id]
        call.cancelled.set()
        if call.result is None:
            _end(
                call, (api_pb2.GenericResult(status=TERMINATED, exception="cancelled"), call.format)
            )
        await stream.send_message(_EMPTY)

    # --- what the calls run on -------------------------------------------------------------

    async def FunctionGetCurrentStats(self, stream: Any) -> None:
        await self._begin("FunctionGetCurrentStats", stream)
        await stream.send_message(api_pb2.FunctionStats(**self.platform.stats))

    async def FunctionUpdateSchedulingParams(self, stream: Any) -> None:
        request = await self._begin("FunctionUpdateSchedulingParams", stream)
        told = {field.name: value for field, value in request.settings.ListFields()}
        for field in ("min_containers", "max_containers"):
            if request.settings.HasField(field):
                told[field] = getattr(request.settings, field)
        self.platform.scaling.append(told)
        await stream.send_message(
            api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=request.settings)
        )

    # --- money -----------------------------------------------------------------------------

    async def AppGetOrCreate(self, stream: Any) -> None:
        request = await self._begin("AppGetOrCreate", stream)
        assert not request.object_creation_type, "a look-up must make nothing"
        app_id = f"ap-{request.app_name}"
        metadata = api_pb2.AppHandleMetadata(app_id=app_id, description=request.app_name)
        await stream.send_message(
            api_pb2.AppGetOrCreateResponse(app_id=app_id, handle_metadata=metadata)
        )

    async def WorkspaceNameLookup(self, stream: Any) -> None:
        await self._begin("WorkspaceNameLookup", stream)
        await stream.send_message(api_pb2.WorkspaceNameLookupResponse(username="acme"))

    async def WorkspaceBillingReport(self, stream: Any) -> None:
        self.platform.reports.append(await self._begin("WorkspaceBillingReport", stream))
        for item in self.platform.report:
            await stream.send_message(item)

    async def BlobCreate(self, stream: Any) -> None:
        await self._begin("BlobCreate", stream)
        blob = f"bl-{len(self.platform.blobs)}"
        await stream.send_message(
            api_pb2.BlobCreateResponse(
                blob_ids=[blob],
                upload_urls=api_pb2.UploadUrlList(items=[f"{self.platform.upload_url}/{blob}"]),
            )
        )


_EMPTY = empty_pb2.Empty()


def _outcome(
    call: Running, function: Any, args: Any, kwargs: Any, tell: Callable[[Any], None]
) -> tuple[api_pb2.GenericResult, int]:
    """Runs the function as a container would, and says how it ended."""
    try:
        value = function(*args, **kwargs)
        if not inspect.isgenerator(value):
            return api_pb2.GenericResult(status=SUCCESS, data=call.encoded(value)), call.format
        total = 0
        for item in value:
            total += 1
            tell(lambda item=item: call.items.append(call.encoded(item)))
        done = api_pb2.GeneratorDone(items_total=total).SerializeToString()
        return (
            api_pb2.GenericResult(status=SUCCESS, data=done),
            api_pb2.DATA_FORMAT_GENERATOR_DONE,
        )
    except Ended as ended:
        return api_pb2.GenericResult(status=ended.status, exception=str(ended)), call.format
    except BaseException as error:
        data = pickle.dumps(error) if call.format == PICKLE else b""
        traced = f"Traceback (most recent call last):\n  File {__file__!r}\n{error!r}"
        result = api_pb2.GenericResult(
            status=FAILURE, exception=repr(error), traceback=traced, data=data
        )
        return result, call.format


def _end(call: Running, result: tuple[api_pb2.GenericResult, int]) -> None:
    if call.result is None:
        call.result = result
        call.changed.set()


async def _until(condition: Callable[[], bool], call: Running, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and not call.forgotten:
        call.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                await call.changed.wait()
        if time.monotonic() >= end:
            return


@contextlib.contextmanager
def modal_running(
    functions: dict[str, Callable[..., Any]],
    token: tuple[str, str],
    platform: ModalPlatform | None = None,
) -> Iterator[ModalPlatform]:
    """A platform on a free port, in a thread of its own."""
    platform = platform or ModalPlatform(functions, token)
    started, stop = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(platform, started, stop)), daemon=True
    )
    thread.start()
    assert started.wait(20), "the platform did not start in time"
    try:
        yield platform
    finally:
        stop.set()
        thread.join(10)


class ClosingServer(Server):  # type: ignore[misc]
    """Hangs up on its clients in the end, as a platform that goes away does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._protocols: list[Any] = []

    def _protocol_factory(self) -> Any:
        self._protocols.append(super()._protocol_factory())
        return self._protocols[-1]

    def hang_up(self) -> None:
        for protocol in self._protocols:
            protocol.connection.close()


async def _serve(platform: ModalPlatform, started: threading.Event, stop: threading.Event) -> None:
    server = ClosingServer([Servicer(platform)], status_details_codec=custom_detail_codec)
    await server.start("127.0.0.1", platform.port)
    started.set()
    await asyncio.to_thread(stop.wait)
    server.close()
    for call in platform.calls.values():
        call.cancelled.set()
    await server.wait_closed()
    server.hang_up()
    await asyncio.sleep(0)
