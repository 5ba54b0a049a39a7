"""A call's trace, as a real receiver gets it and the backend is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from gateway.app import web
from gateway.clock import FakeClock
from tests.adapters.servers import RawServer, Request, answer, chunked, read_request
from tests.gateway.assembled import AssembledGateway, with_own_kinds
from tests.gateway.telemetry.receiver import Receiver, receiving, values_of

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
SAID = {
    "choices": [{"message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

POLICY = """
version: 1
server: {{tls: "off", access_log: false, otel: {{endpoint: "{receiver}", {otel}}}}}
backends:
  first: {{kind: openai, base_url: "{first}"}}
  second: {{kind: openai, base_url: "{second}"}}
models: {{chat: {{task: chat, backends: [first, second]}}}}
routes: [{{name: all, use: [first, second], order: listed}}]
keys: {{unlimited: true}}
"""


class Upstream:
    """Gives calls the answers of a script in turn, and keeps their requests; who only asks how it
    is gets an empty list of models."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers = list(answers)
        self.calls: list[Request] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if request.method == "GET":
                writer.write(answer({"data": []}))
            else:
                self.calls.append(request)
                writer.write(self._answers.pop(0))


@contextlib.asynccontextmanager
async def upstream(answers: Sequence[bytes]) -> AsyncIterator[tuple[Upstream, str]]:
    server = Upstream(answers)
    async with RawServer(server.talk).running() as raw:
        yield server, raw.url


@contextlib.asynccontextmanager
async def client_of(gateway: AssembledGateway) -> AsyncIterator[httpx.AsyncClient]:
    """Of the application as a server runs it; at the end what was told has been sent."""
    app = web(gateway.inner, contextlib.nullcontext)
    headers = {"Authorization": f"Bearer {gateway.key()}"}
    async with (
        app.lifespan(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://gateway", headers=headers
        ) as client,
    ):
        yield client


async def asked(
    folder: Path,
    clock: FakeClock,
    first: list[bytes],
    second: list[bytes],
    *,
    otel: str = "metrics_every: 60s",
    body: dict[str, Any] = CHAT,
    headers: dict[str, str] | None = None,
) -> tuple[Receiver, Upstream, Upstream, httpx.Response]:
    """One call, with what the receiver and both backends got of it."""
    with receiving() as receiver:
        async with upstream(first) as (one, one_url), upstream(second) as (two, two_url):
            text = POLICY.format(receiver=receiver.url, first=one_url, second=two_url, otel=otel)
            async with with_own_kinds(folder, clock, text) as gateway, client_of(gateway) as client:
                answer = await client.post("/v1/chat/completions", json=body, headers=headers)
    return receiver, one, two, answer


async def test_a_call_is_one_trace_from_its_decision_to_its_settlement(
    tmp_path: Path, clock: FakeClock
) -> None:
    receiver, *_, reply = await asked(tmp_path, clock, [answer(SAID)], [])
    assert reply.status_code == 200
    assert [span.name for span in receiver.spans] == [
        "decide", "hold", "line", "chat chat", "settle", "POST /v1/chat/completions",
    ]  # fmt: skip
    root = receiver.spans[-1]
    assert {span.trace_id for span in receiver.spans} == {root.trace_id}
    assert {span.parent_span_id for span in receiver.spans[:-1]} == {root.span_id}
    assert root.parent_span_id == b""
    told = values_of(root)
    assert told["spillgate.request_id"] == reply.headers["x-request-id"]
    assert told["gen_ai.request.model"] == "chat"
    assert told["gen_ai.operation.name"] == "chat"
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (7, 3)
    assert told["spillgate.backend"] == "first"
    assert told["http.response.status_code"] == 200
    assert values_of(receiver.named("decide"))["spillgate.candidates"] == ["first", "second"]
    assert values_of(receiver.named("chat chat"))["gen_ai.provider.name"] == "openai"
    assert receiver.resources[0]["service.name"] == "spillgate"


async def test_the_trace_of_a_caller_goes_on_at_the_backend(
    tmp_path: Path, clock: FakeClock
) -> None:
    given = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "theirs=1"}
    receiver, backend, *_ = await asked(tmp_path, clock, [answer(SAID)], [], headers=given)
    root, attempt = receiver.spans[-1], receiver.named("chat chat")
    assert root.trace_id.hex() == TRACE
    assert root.parent_span_id.hex() == SPAN
    sent = backend.calls[-1].headers
    assert sent["traceparent"] == f"00-{TRACE}-{attempt.span_id.hex()}-01"
    assert sent["tracestate"] == "theirs=1"


async def test_a_trace_that_its_caller_does_not_keep_is_passed_on_and_not_sent(
    tmp_path: Path, clock: FakeClock
) -> None:
    given = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
    receiver, backend, *_ = await asked(tmp_path, clock, [answer(SAID)], [], headers=given)
    assert receiver.spans == []
    assert backend.calls[-1].headers["traceparent"].startswith(f"00-{TRACE}-")
    assert backend.calls[-1].headers["traceparent"].endswith("-00")


async def test_backends_are_told_nothing_where_the_policy_says_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    receiver, backend, *_ = await asked(
        tmp_path, clock, [answer(SAID)], [], otel="propagate: false"
    )
    assert receiver.spans
    assert "traceparent" not in backend.calls[-1].headers


async def test_each_attempt_is_a_span_of_its_own_and_says_why_it_failed(
    tmp_path: Path, clock: FakeClock
) -> None:
    receiver, one, two, reply = await asked(tmp_path, clock, [answer(status=500)], [answer(SAID)])
    assert reply.headers["x-spillgate-reason"] == "FAILOVER"
    failed, good = [span for span in receiver.spans if span.name == "chat chat"]
    assert values_of(failed)["error.type"] == "failed"
    assert failed.status.code == 2
    assert values_of(good)["spillgate.backend"] == "second"
    ids = [each.calls[-1].headers["traceparent"].split("-")[2] for each in (one, two)]
    assert ids == [failed.span_id.hex(), good.span_id.hex()]


async def test_both_attempts_of_a_hedged_call_are_spans_and_their_backends_are_told_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    with receiving() as receiver:
        async with upstream([b""]) as (one, one_url), upstream([answer(SAID)]) as (two, two_url):
            text = POLICY.format(receiver=receiver.url, first=one_url, second=two_url, otel="")
            text = text.replace("listed}", "listed, hedge: {after: 500ms, share: 100}}")
            async with with_own_kinds(tmp_path, clock, text) as gateway, client_of(gateway) as web:
                asking = asyncio.ensure_future(web.post("/v1/chat/completions", json=CHAT))
                await gateway.until_done([asking], step=0.1)
                assert asking.result().headers["x-spillgate-reason"] == "HEDGE"
    spans = [span for span in receiver.spans if span.name == "chat chat"]
    ids = {values_of(span)["spillgate.backend"]: span.span_id.hex() for span in spans}
    told = [each.calls[-1].headers["traceparent"].split("-")[2] for each in (one, two)]
    assert told == [ids["first"], ids["second"]]


async def test_the_attempt_of_a_stream_lasts_until_its_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    pieces = chunked(
        b'data: {"choices":[{"delta":{"content":"ho"}}]}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n',
        b"data: [DONE]\n\n",
    )
    receiver, *_, reply = await asked(tmp_path, clock, [pieces], [], body={**CHAT, "stream": True})
    assert reply.text.endswith("data: [DONE]\n\n")
    told = values_of(receiver.spans[-1])
    assert told["gen_ai.request.stream"] is True
    assert "gen_ai.response.time_to_first_chunk" in told
    attempt, settle = receiver.named("chat chat"), receiver.named("settle")
    assert attempt.end_time_unix_nano <= settle.start_time_unix_nano
    assert receiver.named("gen_ai.server.time_to_first_token").histogram.data_points[0].count == 1


async def test_metrics_are_those_of_a_scrape_and_those_of_the_conventions(
    tmp_path: Path, clock: FakeClock
) -> None:
    receiver, *_ = await asked(tmp_path, clock, [answer(SAID)], [])
    [calls] = receiver.named("spillgate_calls").sum.data_points
    assert values_of(calls) == {"model": "chat", "backend": "first", "outcome": "success"}
    assert calls.as_double == 1.0
    assert receiver.named("spillgate_calls").sum.is_monotonic
    [seconds] = receiver.named("spillgate_call_seconds").histogram.data_points
    assert (seconds.count, sum(seconds.bucket_counts)) == (1, 1)
    assert len(seconds.bucket_counts) == len(seconds.explicit_bounds) + 1
    tokens = receiver.named("gen_ai.client.token.usage").histogram.data_points
    assert {values_of(one)["gen_ai.token.type"]: one.sum for one in tokens} == {
        "input": 7.0,
        "output": 3.0,
    }
    assert receiver.named("spillgate_in_flight").gauge.data_points


async def test_a_refused_request_is_a_trace_too_and_holds_no_key(
    tmp_path: Path, clock: FakeClock
) -> None:
    bad = {"Authorization": "Bearer sg-" + "x" * 40}
    receiver, *_, reply = await asked(tmp_path, clock, [], [], headers=bad)
    assert reply.status_code == 401
    [root] = receiver.spans
    assert values_of(root)["http.response.status_code"] == 401
    assert "sg-xxxx" not in str(receiver.spans)


async def test_what_the_receiver_wants_is_sent_and_never_shown(
    tmp_path: Path, clock: FakeClock
) -> None:
    with receiving() as receiver:
        text = POLICY.format(
            receiver=receiver.url,
            first="http://127.0.0.1:9",
            second="http://127.0.0.1:9",
            otel='headers: {X-Token: "${TOKEN}"}',
        )
        environ = {"TOKEN": "the-secret-token"}
        async with (
            with_own_kinds(tmp_path, clock, text, environ) as gateway,
            client_of(gateway) as client,
        ):
            assert (await client.get("/v1/models")).status_code == 200
            assert "the-secret" not in repr(gateway.inner.active.policy)
    assert {each["x-token"] for each in receiver.headers} == {"the-secret-token"}
    assert receiver.spans[0].name == "GET /v1/models"
