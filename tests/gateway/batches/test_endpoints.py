"""A batch may be for every route whose answer can be had whole, and each line is held for and
charged as that route's own call would be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from adapters.routes import CALLERS_ROUTES
from adapters.types import Capabilities, Reply, Task, Usage
from gateway.clock import FakeClock
from gateway.policy.reader import PolicyError
from gateway.storage.queries import UsageQuery
from tests.gateway.assembled import read
from tests.gateway.batches.gateways import ENDED, BatchesGateway, input_of, with_batches
from tests.gateway.jobs.gateways import POLICY

MODELS = """
  draw: {task: images, backends: [drawer]}
  hear: {task: transcriptions, backends: [drawer]}
  speak: {task: speech, backends: [drawer]}
  rank: {task: rerank, backends: [drawer]}
  judge: {task: moderations, backends: [drawer]}
  like: {task: score, backends: [drawer]}
  embed: {task: embeddings, backends: [drawer]}
  write: {task: completions, backends: [drawer]}
  talk: {task: chat, backends: [drawer]}
"""
TEXT = POLICY.replace("\nprices:", f"{MODELS}\nprices:\n  drawn: {{per_image: 0.04, "
    "as_of: 2026-11-01, source: test}",
).replace("  cloud:", "  drawer: {kind: fake, price: drawn}\n  cloud:")  # fmt: skip
SAID = [{"role": "user", "content": "hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "talk", "messages": SAID},
    "/v1/completions": {"model": "write", "prompt": "hi"},
    "/v1/embeddings": {"model": "embed", "input": "hi"},
    "/v1/messages": {"model": "talk", "messages": SAID, "max_tokens": 5},
    "/v1/responses": {"model": "talk", "input": "hi"},
    "/v1/images/generations": {"model": "draw", "prompt": "a gate", "n": 2},
    "/v1/images/edits": {
        "model": "draw",
        "prompt": "a gate",
        "image": "data:image/png;base64,AA==",
    },
    "/v1/audio/transcriptions": {"model": "hear", "file": "https://x.example/a.wav"},
    "/v1/audio/translations": {"model": "hear", "file": "https://x.example/a.wav"},
    "/v1/audio/speech": {"model": "speak", "input": "hi"},
    "/v1/rerank": {"model": "rank", "query": "q", "documents": ["a"]},
    "/v1/moderations": {"model": "judge", "input": "hi"},
    "/v1/score": {"model": "like", "text_1": "a", "text_2": "b"},
    "/v1/tokenize": {"model": "talk", "prompt": "hi"},
}
ANSWER = b'{"created":1,"data":[{"b64_json":"AAAA"},{"b64_json":"BBBB"}]}'


def answering(gateway: BatchesGateway, *replies: Reply) -> None:
    drawer = gateway.fake("drawer")
    drawer.capabilities = Capabilities(tasks=frozenset(get_args(Task)))
    drawer.tell(*replies)


def test_every_route_has_a_body_here() -> None:
    assert BODIES.keys() == CALLERS_ROUTES.keys()


@pytest.mark.parametrize("endpoint", BODIES)
async def test_a_batch_is_for_every_route_that_answers_whole(
    endpoint: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        answering(gateway, Reply(body=ANSWER))
        data = input_of([BODIES[endpoint]], endpoint)
        batch = await gateway.batch(client, data, endpoint)
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        [line] = await gateway.lines(client, ended["output_file_id"])
        [call] = gateway.fake("drawer").calls

        assert line["response"]["body"] == json.loads(ANSWER)
        assert call.task == CALLERS_ROUTES[endpoint]
        assert json.loads(call.body) == BODIES[endpoint]


async def test_a_line_is_held_for_and_charged_by_its_images(
    tmp_path: Path, clock: FakeClock
) -> None:
    endpoint = "/v1/images/generations"
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        answering(gateway, Reply(body=ANSWER, usage=Usage(images=2)))
        too_dear = {**BODIES[endpoint], "n": 10}
        data = input_of([BODIES[endpoint], too_dear], endpoint)
        budget = {"spillgate_budget": "0.10 USD"}
        batch = await gateway.batch(client, data, endpoint, metadata=budget)
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        [line] = await gateway.lines(client, ended["output_file_id"])
        [refused] = await gateway.lines(client, ended["error_file_id"])
        used = await gateway.inner.ledger.usage(UsageQuery(where={"tag:batch": batch["id"]}))

        assert line["custom_id"] == "c1"
        assert refused["error"]["code"] == "batch_budget_reached"
        assert sum(row.cost_nano for row in used.rows) == 80_000_000
        assert ended["cost_usd"] == "0.08"


async def test_a_line_goes_on_from_no_other_response(tmp_path: Path, clock: FakeClock) -> None:
    endpoint = "/v1/responses"
    bodies = [BODIES[endpoint] | {"previous_response_id": "resp_1"}, BODIES[endpoint]]
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        answering(gateway, Reply(body=ANSWER))
        batch = await gateway.batch(client, input_of(bodies, endpoint), endpoint)
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        [error] = await gateway.lines(client, ended["error_file_id"])

        assert ended["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
        assert error["response"]["status_code"] == 400
        assert error["response"]["body"]["error"]["param"] == "body.previous_response_id"


@pytest.mark.parametrize("endpoint", [*BODIES, "/v1/infer/any"])
def test_a_scheduled_batch_may_be_for_each_of_them(endpoint: str) -> None:
    batch = f"{{endpoint: {endpoint}, input: /in.jsonl, within: 1h}}"
    scheduled = f"schedules: {{nightly: {{cron: '0 3 * * *', user: alice, batch: {batch}}}}}\n"
    read(TEXT + scheduled)


def test_a_scheduled_batch_for_no_route_is_refused_where_it_stands() -> None:
    batch = "{endpoint: /v1/nothing, input: /in.jsonl, within: 1h}"
    scheduled = f"schedules: {{nightly: {{cron: '0 3 * * *', user: alice, batch: {batch}}}}}\n"
    with pytest.raises(PolicyError, match="/v1/responses"):
        read(TEXT + scheduled)
