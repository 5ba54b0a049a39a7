"""A long job in the background: which of many texts say the same?

    python -m local_runtime examples/reports.py --port 8000

    POST /report {"texts": [...], "threshold": 0.85, "webhook": "https://..."} -> {"job_id": ...}
    POST /progress {"job_id": ...} -> {"job_id", "done": 0 to 1}

The result, {"texts": 5000, "groups": [[0, 17], ...], "tokens": 61200}, goes to the webhook and is
read at /_k/jobs/{job_id}. A gateway in front takes ``handler: /report`` for its backend. Runs in
this project's folder, since it uses the model of ``examples/embeddings.py``.

The job is an async function that lets others in between two steps: so its progress can be read,
and a cancelled job ends at its next step and not at its last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec
import torch

from examples.embeddings import load
from local_runtime import InvalidInput, Request, Runtime

MAX_TEXTS = 20_000
STEP = 64
"""Texts between two pauses."""
KEPT_S = 3600.0
"""How long a job's progress can be read."""

app = Runtime("reports")


class Asked(msgspec.Struct, frozen=True):
    """The body of a request; ``webhook`` is the runtime's."""

    texts: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_TEXTS)]
    threshold: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.85
    """The cosine from which two texts say the same."""


@app.init
def init() -> dict[str, Any]:
    return {"model": load()}


@app.background("/report", timeout=3600, warmup={"texts": ["one", "one more"]})
async def report(context: dict[str, Any], request: Request) -> dict[str, Any]:
    asked = _checked(request.json)
    parts: list[torch.Tensor] = []
    pairs: list[tuple[int, int]] = []
    tokens = 0
    for start in range(0, len(asked.texts), STEP):
        embedded = context["model"].embed(asked.texts[start : start + STEP])
        parts.append(embedded.vectors)
        tokens += sum(embedded.tokens)
        await _pause(request.id, (start + STEP) / len(asked.texts) * 0.9)
    vectors = torch.cat(parts)
    for start in range(0, len(vectors), STEP):
        pairs += alike(vectors, start, asked.threshold)
        await asyncio.sleep(0)
    await _pause(request.id, 1.0)
    return {"texts": len(vectors), "groups": groups(pairs), "tokens": tokens}


@app.handler("/progress")
def progress(context: dict[str, Any], request: Request) -> dict[str, Any]:
    job = request.json.get("job_id") if isinstance(request.json, dict) else None
    done = app.store.get(f"progress:{job}")
    if done is None:
        raise InvalidInput("there is no such job, or it has not begun", param="job_id")
    return {"job_id": job, "done": done}


async def _pause(job: str, done: float) -> None:
    """Notes how far the job is, and lets others in; a cancelled job ends here."""
    app.store.set(f"progress:{job}", min(done, 1.0), ttl=KEPT_S)
    await asyncio.sleep(0)


def _checked(payload: Any) -> Asked:
    try:
        return msgspec.convert(payload, Asked)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None


def alike(vectors: torch.Tensor, start: int, threshold: float) -> Iterator[tuple[int, int]]:
    """The pairs (a, b), a < b, of vectors of length 1 whose cosine is at least ``threshold``,
    where a is one of the STEP vectors from ``start`` on."""
    near = vectors[start : start + STEP] @ vectors.T >= threshold
    for row, column in near.nonzero().tolist():
        if start + row < column:
            yield start + row, column


def groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """What hangs together by any number of pairs: each group ascends, and so do their firsts."""
    root: dict[int, int] = {}

    def find(one: int) -> int:
        while (above := root.setdefault(one, one)) != one:
            root[one] = one = root[above]
        return one

    for a, b in pairs:
        first, second = sorted((find(a), find(b)))
        root[second] = first
    found: dict[int, list[int]] = {}
    for one in sorted(root):
        found.setdefault(find(one), []).append(one)
    return list(found.values())
