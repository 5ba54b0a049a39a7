"""``spillgate probe`` against the spare platform and a server of OpenAI's protocol."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.cli import main
from tests.adapters.scenarios import KEY
from tests.adapters.served import served
from tests.adapters.stages import Front

POLICY = """
version: 1
server: {{listen: "127.0.0.1:1", tls: "off", data: {folder}}}
backends:
  burst:
    kind: runpod
    endpoint: overflow
    api_key: ${{PROBED_KEY}}
    base_url: {front}
    management_url: {front}
    price: flex
    cold_start: {{p50: 5s, p95: 15s}}
    expect: 2s
  engine:
    {{kind: openai, base_url: "{openai}", api_key: "${{PROBED_KEY}}", model: tiny, price: tokens}}
  other: {{kind: openai, base_url: "http://127.0.0.1:1", api_key: "${{SET_NOWHERE}}"}}
models:
  echo: {{task: infer, backends: [burst]}}
  chat: {{task: chat, backends: [engine, other]}}
prices:
  flex: {{per_second: 0.001, bills: [start, run, idle], as_of: 2026-06-08, source: "the list"}}
  tokens: {{per_million_input: 0.50, per_million_output: 1.50, source: "the list"}}
"""


class Engine:
    """A small server of OpenAI's protocol that counts the calls it answers."""

    def __init__(self) -> None:
        self.calls = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", lambda _: Response()),
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ]
        )

    async def models(self, request: Request) -> Response:
        sent = request.headers["authorization"]
        if sent != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": f"wrong key: {sent}"}}, 401)
        return JSONResponse({"data": [{"id": "tiny"}, {"id": "large"}]})

    async def chat(self, request: Request) -> Response:
        self.calls += 1
        if (await request.json())["model"] != "tiny":
            return JSONResponse({"error": {"message": "no such model"}}, 404)
        usage = {"prompt_tokens": 1000, "completion_tokens": 2000}
        return JSONResponse({"choices": [{"message": {"content": "ok"}}], "usage": usage})


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[Engine, str]]:
    server = Engine()
    with served(server.app()) as url:
        yield server, url


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    """RunPod's own worker behind the spare platform; it starts when a job comes."""
    with contextlib.closing(
        Front("--idle-timeout", "600", "--worker", "tests.programs.runpod.worker")
    ) as front:
        yield front


class Prober:
    """Runs the command in this process, over one policy."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._capsys = capsys
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        try:
            found: object = main(["probe", *words, "--config", str(self._config)])
        except SystemExit as end:
            found = end.code
        printed = self._capsys.readouterr()
        self.error = printed.err
        assert found == status, printed.out + printed.err
        assert KEY not in printed.out + printed.err
        return printed.out

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))

    def change(self, before: str, after: str) -> None:
        text = self._config.read_text()
        assert before in text
        self._config.write_text(text.replace(before, after))


@pytest.fixture
def probe(
    tmp_path: Path,
    engine: tuple[Engine, str],
    front: Front,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Prober:
    monkeypatch.setenv("PROBED_KEY", KEY)
    config = tmp_path / "policy.yaml"
    config.write_text(POLICY.format(folder=tmp_path / "data", front=front.url, openai=engine[1]))
    return Prober(config, capsys)


# --- without a call -----------------------------------------------------------------------------


def test_a_cold_platform_is_well_and_shows_what_a_call_would_cost(
    probe: Prober, front: Front
) -> None:
    told = probe.json("burst")
    assert (told["kind"], told["ready"], told["warm_workers"]) == ("runpod", False, 0)
    assert told["expected"] == {
        "run_seconds": 2.0,
        "cold_seconds": 5.0,
        "warm_usd": "0.002",
        "cold_usd": "0.007",
    }
    assert {"cancel", "ping", "keep_workers", "jobs", "bill", "asked_prices"} <= set(
        told["abilities"]
    )
    assert told["call"] is None
    assert front.health()["jobs"] == {**front.health()["jobs"], "completed": 0, "inQueue": 0}


def test_what_the_kind_takes_for_granted_is_checked_one_by_one(probe: Prober) -> None:
    told = {one["claim"]: one["holds"] for one in probe.json("burst")["assumptions"]}
    assert told == {
        "the key is accepted by the job plane": True,
        "/health counts workers and jobs as documented": True,
        "a job that is not known is answered with 404": True,
        "the management plane states workers.min and workers.max": True,
    }


def test_a_wrong_key_is_told_and_not_shown(probe: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBED_KEY", "another-4711")
    for backend in ("burst", "engine"):
        text = probe(backend, status=1)
        assert "NO   the key is accepted" in text
        assert "another-4711" not in text


def test_a_platform_that_cannot_be_reached_leaves_every_assumption_open(probe: Prober) -> None:
    probe.change("${SET_NOWHERE}", "${PROBED_KEY}")
    told = probe.json("other", status=1)
    assert [one["holds"] for one in told["assumptions"]] == [None]


def test_a_model_that_the_server_does_not_list_is_found_before_a_call_is_lost(
    probe: Prober,
) -> None:
    probe.change("model: tiny", "model: huge")
    assert "NO   the key is accepted, and models are listed: huge is not among 2" in probe(
        "engine", status=1
    )


def test_nothing_is_spent_without_being_asked_for(
    probe: Prober, engine: tuple[Engine, str]
) -> None:
    before = engine[0].calls
    text = probe("engine")
    assert engine[0].calls == before
    assert "$0.5 a million tokens in, $1.5 a million tokens out; a call by its tokens\n" in text
    assert "\ncall" not in text


# --- what the platform asks today ----------------------------------------------------------------


def test_a_price_that_is_no_longer_what_is_asked_is_told_with_the_line_to_write(
    probe: Prober, front: Front
) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    line = (
        "flex: {per_second: 0.00016, bills: [start, run, idle], "
        f'as_of: {today}, source: "{front.url}/catalog/gpus"}}'
    )
    text = probe("burst")
    assert "asked      $0.00016 a second of this machine" in text
    assert "the policy's price DIFFERS: it is 525.0% above it" in text
    assert line in text
    asked = probe.json("burst")["asked"]
    assert (asked["differs"], asked["off_by"], asked["yaml"]) == (True, 5.25, line)


def test_the_line_is_one_that_the_policy_takes_and_the_price_then_agrees(probe: Prober) -> None:
    line = probe.json("burst")["asked"]["yaml"]
    written = next(one.strip() for one in POLICY.splitlines() if "flex: {{" in one)
    probe.change(written.format(), line)
    assert "the policy's price agrees with it" in probe("burst")
    assert probe.json("burst")["asked"]["differs"] is False


def test_a_price_within_a_hundredth_of_what_is_asked_agrees(probe: Prober) -> None:
    probe.change("per_second: 0.001,", "per_second: 0.0001585,")
    assert "agrees" in probe("burst")
    probe.change("per_second: 0.0001585,", "per_second: 0.0001583,")
    assert "DIFFERS: it is 1.1% below it" in probe("burst")


def test_a_backend_without_a_price_is_shown_what_it_costs(probe: Prober) -> None:
    probe.change("    price: flex\n", "")
    text = probe("burst")
    assert "the policy has no price; under prices, the policy would say today" in text
    assert "burst-price: {per_second: 0.00016, bills: [start, run, idle]" in text


def test_a_platform_that_names_no_price_today_is_probed_all_the_same(
    probe: Prober, front: Front, engine: tuple[Engine, str]
) -> None:
    probe.change(f"management_url: {front.url}", f"management_url: {engine[1]}")
    assert "asked      not known: The backend does not have" in probe("burst", status=1)


def test_a_kind_whose_platform_states_no_prices_says_nothing_of_them(probe: Prober) -> None:
    assert probe.json("engine")["asked"] is None
    assert "\nasked " not in probe("engine")


# --- with one -----------------------------------------------------------------------------------


def test_a_call_is_measured_and_priced(probe: Prober, engine: tuple[Engine, str]) -> None:
    before = engine[0].calls
    call = probe.json("engine", "--call")["call"]
    assert engine[0].calls == before + 1
    assert (call["model"], call["failure"], call["usd"]) == ("chat", None, "0.0035")
    assert (call["usage"]["input_tokens"], call["usage"]["output_tokens"]) == (1000, 2000)
    text = probe("engine", "--call")
    assert "tokens in 1000, tokens out 2000 (the server's figures)" in text
    assert "cost       $0.0035 by the policy's price" in text


def test_a_platforms_own_times_are_what_a_call_is_priced_by(probe: Prober) -> None:
    told = probe.json("burst", "--call", "--body", '{"sleep": 0.2}')
    used = told["call"]["usage"]
    assert used["reported"]
    assert used["exec_s"] >= 0.2
    billed = used["exec_s"] + used["cold_s"]
    assert float(told["call"]["usd"]) == pytest.approx(0.001 * billed, abs=2e-9)
    after = probe.json("burst")
    assert (after["ready"], after["warm_workers"]) == (True, 1)


def test_a_call_that_fails_is_what_was_found(probe: Prober) -> None:
    text = probe("burst", "--call", "--body", '{"fail": "boo"}', status=1)
    assert "failed: ValueError: boo" in text


# --- asked wrongly ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "no backend 'nobody'; the policy has burst, engine, other"),
        (["other"], "backends.other.api_key: the environment variable SET_NOWHERE is not set"),
        (["engine", "--call", "--model", "echo"], "engine serves chat"),
        (["engine", "--call", "--body", "{"], "--body is no JSON"),
    ],
)
def test_what_cannot_be_asked_is_said(probe: Prober, words: list[str], said: str) -> None:
    probe(*words, status=2)
    assert said in probe.error
