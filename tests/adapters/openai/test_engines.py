"""What an engine says of its load, read from the answers that each engine gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai import engines
from adapters.openai.engines import SIGNS, EngineLoad, Read
from tests.adapters.openai.engine_servers import (
    GET_LOAD,
    INFO,
    LLAMACPP,
    LOADS,
    PROPS,
    PYTHON,
    SGLANG,
    SLOTS,
    TGI,
    VLLM,
)


@pytest.mark.parametrize(
    ("read", "body", "expected"),
    [
        (engines.vllm_metrics, VLLM, EngineLoad(running=3, queued=4, asleep=False)),
        (engines.vllm_load, {"server_load": 6}, EngineLoad(running=6)),
        (engines.sglang_loads, LOADS, EngineLoad(running=4, queued=5, slots=96)),
        (engines.sglang_get_load, GET_LOAD, EngineLoad(running=3, queued=5)),
        (engines.sglang_metrics, SGLANG, EngineLoad(running=4, queued=5)),
        (engines.tgi_metrics, TGI, EngineLoad(running=8, queued=3)),
        (engines.tgi_info, INFO, EngineLoad(slots=128, queues=False)),
        (engines.llamacpp_props, PROPS, EngineLoad(slots=4, asleep=False)),
        (engines.llamacpp_metrics, LLAMACPP, EngineLoad(running=1, queued=2)),
        (engines.llamacpp_slots, SLOTS, EngineLoad(running=1, slots=2)),
        (engines.llamacpp_python, PYTHON, EngineLoad(slots=1, queues=False)),
    ],
)
def test_each_answer_of_each_engine_is_read(read: Read, body: Any, expected: EngineLoad) -> None:
    assert read(body if isinstance(body, bytes) else json.dumps(body).encode()) == expected


@pytest.mark.parametrize("calls", [-1, 1_000_001, 10**308, 10**400])
def test_figures_that_no_engine_has_are_unknown(calls: int) -> None:
    load = EngineLoad(running=calls, queued=calls, slots=calls, queues=False)
    assert load.credible() == EngineLoad(queues=False)
    assert EngineLoad(running=0, queued=3, slots=0).credible() == EngineLoad(running=0, queued=3)


def test_a_gauge_is_found_under_the_names_that_exporters_give_it() -> None:
    """A colon is no letter of other systems, so some write an underscore; Ray adds its name."""
    for name in (b"vllm:num_requests_running", b"vllm_num_requests_running"):
        for prefix in (b"", b"ray_"):
            load = engines.vllm_metrics(prefix + name + b' {model_name="m"} 5\n')
            assert load == EngineLoad(running=5)


def test_vllm_says_why_calls_wait_where_it_no_longer_says_how_many() -> None:
    text = (
        b"vllm:num_requests_running 1\n"
        b'vllm:num_requests_waiting_by_reason{reason="capacity"} 2\n'
        b'vllm:num_requests_waiting_by_reason{reason="deferred"} 1\n'
    )
    assert engines.vllm_metrics(text) == EngineLoad(running=1, queued=3)


def test_calls_that_an_older_vllm_has_swapped_out_wait_too() -> None:
    text = b"vllm:num_requests_running 1\nvllm:num_requests_swapped 2\n"
    assert engines.vllm_metrics(text) == EngineLoad(running=1, queued=2)


def test_a_vllm_that_sleeps_is_seen_to_sleep() -> None:
    text = b'vllm:num_requests_running 0\nvllm:engine_sleep_state{sleep_state="awake"} 0.0\n'
    assert engines.vllm_metrics(text) == EngineLoad(running=0, asleep=True)


def test_a_load_of_nought_is_unknown_where_vllm_may_not_have_been_told_to_count() -> None:
    assert engines.vllm_load(b'{"server_load":0}') == EngineLoad()


def test_a_batch_size_bounds_tgi_more_tightly_than_its_queue() -> None:
    info = b'{"max_concurrent_requests":128,"max_batch_size":16}'
    assert engines.tgi_info(info) == EngineLoad(slots=16, queues=False)


def test_what_two_answers_say_is_put_together_and_the_first_one_counts() -> None:
    first = EngineLoad(running=1, slots=4)
    second = EngineLoad(running=9, queued=2, queues=False, asleep=True)
    assert first.and_then(second) == EngineLoad(
        running=1, queued=2, slots=4, queues=False, asleep=True
    )


@pytest.mark.parametrize("read", [question.read for _, question in SIGNS])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"{}",
        b"[]",
        b"null",
        b'{"error":{"message":"no","code":404}}',
        b'{"info":{"title":"Our own API"},"loads":[]}',
        b"vllm:num_requests_running NaN\nprocess_cpu_seconds_total 4\n",
        b"\xff\xfe{",
    ],
)
def test_another_servers_answer_is_no_engines(read: Read, body: bytes) -> None:
    assert read(body) is None


@given(st.binary(max_size=200), st.sampled_from([VLLM, SGLANG, TGI, LLAMACPP, b"", b'{"a":']))
def test_no_bytes_make_a_reader_raise(noise: bytes, text: bytes) -> None:
    for _, question in SIGNS:
        for body in (noise + text, text + noise):
            load = question.read(body)
            assert load is None or isinstance(load, EngineLoad)
