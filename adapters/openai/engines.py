"""What inference engines say of their own load: their answers as values. Pure.

Read where an engine offers it, since no two offer the same:

    vLLM        /metrics (Prometheus), else /load
    SGLang      /v1/loads, else /metrics (with --enable-metrics), else the older /get_load
    TGI         /metrics and /info
    llama.cpp   /props, and of what runs /metrics (with --metrics), else /slots

What an answer does not state stays None. Sources: https://docs.vllm.ai/en/latest/design/metrics/,
https://docs.sglang.io/docs/references/production_metrics,
https://huggingface.co/docs/text-generation-inference/reference/metrics,
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from adapters.shapes.json_texts import read_if

Engine = Literal["vllm", "sglang", "llamacpp", "tgi"]


class EngineLoad(msgspec.Struct, frozen=True, kw_only=True):
    """An engine at one instant, as far as one of its answers says."""

    running: int | None = None
    """Calls that it computes."""
    queued: int | None = None
    """Calls that it holds and has not begun."""
    slots: int | None = None
    """Calls that it computes at once at most."""
    queues: bool = True
    """More calls than ``slots`` wait there; False: it refuses them, or breaks off others."""
    asleep: bool | None = None
    """The model has been unloaded until a call wakes it."""

    def and_then(self, other: EngineLoad) -> EngineLoad:
        """Both together; where both say something, this one counts."""
        return EngineLoad(
            running=other.running if self.running is None else self.running,
            queued=other.queued if self.queued is None else self.queued,
            slots=other.slots if self.slots is None else self.slots,
            queues=self.queues and other.queues,
            asleep=other.asleep if self.asleep is None else self.asleep,
        )

    def credible(self) -> EngineLoad:
        """Without figures that no engine has: they would decide over every call."""

        return EngineLoad(
            running=_credible(self.running),
            queued=_credible(self.queued),
            slots=_credible(self.slots) or None,
            queues=self.queues,
            asleep=self.asleep,
        )


_MOST = 1_000_000
"""Calls: far more than any engine has at once."""


def _credible(calls: int | None) -> int | None:
    return calls if calls is not None and 0 <= calls <= _MOST else None


Read = Callable[[bytes], EngineLoad | None]
"""What a body says; None where it is not what the engine answers there."""


class EngineQuestion(msgspec.Struct, frozen=True):
    """A path of an engine, and how its answer is read."""

    path: str
    read: Read
    wakes: bool = False
    """It keeps an engine awake that would go to sleep, so it is asked only while calls run."""


# --- Prometheus' text format ----------------------------------------------------------------------


class Sample(msgspec.Struct, frozen=True):
    """One line of the text format."""

    labels: dict[str, str]
    value: int


_LABEL = re.compile(rb'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(body: bytes, name: str) -> list[Sample]:
    """The samples of one gauge; ``vllm:x`` is also found as ``vllm_x`` and ``ray_vllm_x``.

    A page of hundreds of kilobytes is searched for the name alone, which takes microseconds.
    """
    pattern = name.replace(":", "[:_]").encode() + rb"(?![\w:])"
    line = re.compile(rb"(?:ray_)?" + pattern + rb"[ \t]*(?:\{(.*)\})?[ \t]*([^ \t\r\n]+)")
    matches = (line.match(body, start) for start in _lines_with(body, name.split(":")[-1].encode()))
    found = (_sample(match) for match in matches if match is not None)
    return [sample for sample in found if sample is not None]


def _lines_with(body: bytes, word: bytes) -> Iterator[int]:
    """Where each line begins that holds the word."""
    at = body.find(word)
    while at >= 0:
        yield body.rfind(b"\n", 0, at) + 1
        end = body.find(b"\n", at)
        at = -1 if end < 0 else body.find(word, end)


def _sample(match: re.Match[bytes]) -> Sample | None:
    try:
        value = round(float(match[2]))
    except (ValueError, OverflowError):  # NaN or infinite, or no number at all
        return None
    pairs = _LABEL.findall(match[1] or b"")
    return Sample({key.decode(): text.decode("utf-8", "replace") for key, text in pairs}, value)


def total(body: bytes, name: str) -> int | None:
    """The sum over all label sets (engines, models); None where there is no sample."""
    found = samples(body, name)
    return sum(sample.value for sample in found) if found else None


def _over_ranks(body: bytes, name: str) -> int | None:
    """SGLang's ranks of one data-parallel replica may each tell the same figure, and one of no
    priority is the sum of those by priority: the largest of each replica counts."""
    largest: dict[str, int] = {}
    for sample in samples(body, name):
        replica = sample.labels.get("dp_rank", "")
        largest[replica] = max(sample.value, largest.get(replica, 0))
    return sum(largest.values()) if largest else None


# --- vLLM -----------------------------------------------------------------------------------------


def vllm_metrics(body: bytes) -> EngineLoad | None:
    """The gauges of every engine and model together; None where there are none."""
    running = total(body, "vllm:num_requests_running")
    if running is None:
        return None
    waiting = total(body, "vllm:num_requests_waiting")
    if waiting is None:
        waiting = total(body, "vllm:num_requests_waiting_by_reason")
    swapped = total(body, "vllm:num_requests_swapped")
    queued = waiting if swapped is None else (waiting or 0) + swapped
    return EngineLoad(running=running, queued=queued, asleep=_vllm_sleeps(body))


def _vllm_sleeps(body: bytes) -> bool | None:
    states = samples(body, "vllm:engine_sleep_state")
    awake = [state.value for state in states if state.labels.get("sleep_state") == "awake"]
    return not any(awake) if awake else None


class _ServerLoad(msgspec.Struct):
    server_load: int


def vllm_load(body: bytes) -> EngineLoad | None:
    """``/load`` counts what runs and waits together, and 0 where it was not told to count."""
    found = read_if(body, _ServerLoad)
    return None if found is None else EngineLoad(running=found.server_load or None)


# --- SGLang ---------------------------------------------------------------------------------------


class _Rank(msgspec.Struct):
    num_running_reqs: int | None = None
    num_waiting_reqs: int | None = None
    max_running_requests: int | None = None
    num_reqs: int | None = None


class _Loads(msgspec.Struct):
    loads: list[_Rank]


def sglang_loads(body: bytes) -> EngineLoad | None:
    """``/v1/loads``, all ranks together; None for anything else."""
    found = read_if(body, _Loads)
    if found is None or not any(rank.num_running_reqs is not None for rank in found.loads):
        return None
    return EngineLoad(
        running=_sum(rank.num_running_reqs for rank in found.loads),
        queued=_sum(rank.num_waiting_reqs for rank in found.loads),
        slots=_sum(rank.max_running_requests for rank in found.loads) or None,
    )


def sglang_get_load(body: bytes) -> EngineLoad | None:
    """The older form: ``num_reqs`` has those that wait in it."""
    ranks = read_if(body, list[_Rank])
    if not ranks or ranks[0].num_reqs is None:
        return None
    queued = _sum(rank.num_waiting_reqs for rank in ranks) or 0
    present = _sum(rank.num_reqs for rank in ranks) or 0
    return EngineLoad(running=max(present - queued, 0), queued=queued)


def sglang_metrics(body: bytes) -> EngineLoad | None:
    """The gauges of all replicas together; None where there are none."""
    running = _over_ranks(body, "sglang:num_running_reqs")
    queued = _over_ranks(body, "sglang:num_queue_reqs")
    if running is None and queued is None:
        return None
    return EngineLoad(running=running, queued=queued)


# --- TGI ------------------------------------------------------------------------------------------


def tgi_metrics(body: bytes) -> EngineLoad | None:
    """The gauges of TGI, and of its sibling for embeddings; None where there are none."""
    running = total(body, "tgi_batch_current_size")
    queued = total(body, "tgi_queue_size")
    if queued is None:
        queued = total(body, "te_queue_size")  # its sibling for embeddings
    if running is None and queued is None:
        return None
    return EngineLoad(running=running, queued=queued)


class _TgiInfo(msgspec.Struct):
    max_concurrent_requests: int
    max_batch_size: int | None = None


def tgi_info(body: bytes) -> EngineLoad | None:
    """It answers 429 to more than ``max_concurrent_requests``, those that wait included."""
    found = read_if(body, _TgiInfo)
    if found is None:
        return None
    bounds = [one for one in (found.max_concurrent_requests, found.max_batch_size) if one]
    return EngineLoad(slots=min(bounds, default=None), queues=False)


# --- llama.cpp ------------------------------------------------------------------------------------


class _Props(msgspec.Struct):
    total_slots: int
    is_sleeping: bool | None = None


def llamacpp_props(body: bytes) -> EngineLoad | None:
    """``/props``: how many slots there are, and whether the model is unloaded."""
    found = read_if(body, _Props)
    if found is None:
        return None
    return EngineLoad(slots=found.total_slots or None, asleep=found.is_sleeping)


def llamacpp_metrics(body: bytes) -> EngineLoad | None:
    """The gauges of what runs and waits; None where they are not switched on."""
    running = total(body, "llamacpp:requests_processing")
    if running is None:
        return None
    return EngineLoad(running=running, queued=total(body, "llamacpp:requests_deferred"))


class _Slot(msgspec.Struct):
    is_processing: bool


def llamacpp_slots(body: bytes) -> EngineLoad | None:
    """``/slots``, each with whether it runs a call."""
    slots = read_if(body, list[_Slot])
    if not slots:
        return None
    return EngineLoad(running=sum(slot.is_processing for slot in slots), slots=len(slots))


class _Described(msgspec.Struct):
    class Info(msgspec.Struct):
        title: str

    info: Info


def llamacpp_python(body: bytes) -> EngineLoad | None:
    """llama.cpp's bindings for Python: one call at a time, which by default the next breaks off;
    known by the title in ``/openapi.json``, as they state neither."""
    found = read_if(body, _Described)
    if found is None or "llama.cpp Python API" not in found.info.title:
        return None
    return EngineLoad(slots=1, queues=False)


def _sum(values: Iterator[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


# --- what is asked of whom ------------------------------------------------------------------------

_VLLM_METRICS = EngineQuestion("/metrics", vllm_metrics)
_SGLANG_METRICS = EngineQuestion("/metrics", sglang_metrics)
_TGI_METRICS = EngineQuestion("/metrics", tgi_metrics)
_LLAMACPP_METRICS = EngineQuestion("/metrics", llamacpp_metrics)
_LOADS = EngineQuestion("/v1/loads?include=core", sglang_loads)
_GET_LOAD = EngineQuestion("/get_load", sglang_get_load)
_LOAD = EngineQuestion("/load", vllm_load)
_INFO = EngineQuestion("/info", tgi_info)
_PROPS = EngineQuestion("/props", llamacpp_props)
_SLOTS = EngineQuestion("/slots", llamacpp_slots, wakes=True)
_OPENAPI = EngineQuestion("/openapi.json", llamacpp_python)

QUESTIONS: dict[Engine, tuple[tuple[EngineQuestion, ...], ...]] = {
    "vllm": ((_VLLM_METRICS, _LOAD),),
    "sglang": ((_LOADS, _SGLANG_METRICS, _GET_LOAD),),
    "tgi": ((_TGI_METRICS,), (_INFO,)),
    "llamacpp": ((_PROPS, _OPENAPI), (_LLAMACPP_METRICS, _SLOTS)),
}
"""For each engine, what is asked at every probe: of each group the first that is answered."""

SIGNS: tuple[tuple[Engine, EngineQuestion], ...] = (
    ("vllm", _VLLM_METRICS),
    ("sglang", _SGLANG_METRICS),
    ("tgi", _TGI_METRICS),
    ("llamacpp", _LLAMACPP_METRICS),
    ("sglang", _LOADS),
    ("sglang", _GET_LOAD),
    ("llamacpp", _PROPS),
    ("tgi", _INFO),
    ("vllm", _LOAD),
    ("llamacpp", _OPENAPI),
)
"""By what an engine that was not named is known: the first question that is answered."""
