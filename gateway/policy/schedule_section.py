"""What is wrong with schedules beside what each of their keys says: an input that the model's task
does not take, a batch for a route that has none; and what is said in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.routes import CALLERS_ROUTES, OPENAI_ROUTES, PLAIN_ROUTES
from gateway.policy.model import ModelSpec, Policy
from gateway.policy.sections.schedules import ScheduledBatch, ScheduledJob, ScheduleSpec
from gateway.policy.syntax.findings import BAD, Findings
from gateway.policy.syntax.problems import join, place_of

_Found = Iterator[tuple[str, str]]
"""(key path, message)."""
_NEEDS = {
    "chat": "messages",
    "completions": "prompt",
    "embeddings": "input",
    "images": "prompt",
    "speech": "input",
    "rerank": "documents",
    "moderations": "input",
}
"""Task -> the field without which its body asks for nothing."""
_INFER = "/v1/infer/"


def check_schedules(values: Mapping[str, Any], reading: Findings) -> None:
    """Notes each template that no gateway could begin."""
    schedules, models = values.get("schedules", {}), values.get("models", {})
    for name, schedule in schedules.items():
        path = join("schedules", name)
        for where, message in _wrong(path, schedule, models):
            reading.note(place_of(where, reading.places), where, message)


def _wrong(path: str, schedule: ScheduleSpec, models: Mapping[str, Any]) -> _Found:
    if schedule.job is not None:
        spec = models.get(schedule.job.model, BAD)
        if isinstance(spec, ModelSpec):
            yield from _of_job(join(path, "job"), schedule.job, spec)
    if schedule.batch is not None:
        yield from _of_batch(join(path, "batch"), schedule.batch, models)


def _of_job(path: str, job: ScheduledJob, spec: ModelSpec) -> _Found:
    where = join(path, "input")
    if spec.task not in ("infer", "other", *OPENAI_ROUTES, *PLAIN_ROUTES):
        yield join(path, "model"), f"{job.model} answers on a connection alone: no jobs"
        return
    for name in ("model", "stream"):
        if name in job.input and spec.task not in ("infer", "other"):
            yield join(where, name), "is not for the input of a job: leave it out"
    needed = _NEEDS.get(spec.task)
    if needed is not None and needed not in job.input:
        yield where, f"{job.model} does {spec.task}, whose body needs `{needed}`"


def _of_batch(path: str, batch: ScheduledBatch, models: Mapping[str, Any]) -> _Found:
    where = join(path, "endpoint")
    routes = sorted(CALLERS_ROUTES)
    model = batch.endpoint.removeprefix(_INFER)
    if batch.endpoint.startswith(_INFER) and model:
        if model not in models:
            yield where, f"there is no model {model!r}"
        elif isinstance(models[model], ModelSpec) and models[model].task != "infer":
            yield where, f"{model} does {models[model].task}, not infer"
    elif batch.endpoint not in routes:
        yield where, f"is {', '.join(routes)} or {_INFER}MODEL"


def schedules_in_vain(policy: Policy) -> _Found:
    """What a valid schedule says in vain."""
    for name, schedule in policy.schedules.items():
        path = join("schedules", name)
        if schedule.missed == "all" and schedule.overlap == "skip":
            yield (
                join(path, "missed"),
                "all: only the first of several missed ones is begun, for the others overlap it "
                "(overlap: skip); say overlap: wait or allow",
            )
