"""The results of a batch in one file, in the order of its input."""

from __future__ import annotations

import heapq
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gateway.cli.batches.connection import BatchConnection

ENDED = frozenset(("completed", "failed", "expired", "cancelled"))


def write_results(gateway: BatchConnection, batch: dict[str, Any], out: Path) -> int:
    """How many lines they are; of one that has not ended those that have. The file is there whole,
    or as it was before."""
    coming = out.with_name(out.name + ".part")
    count = 0
    with coming.open("wb") as file:
        for line in _lines(gateway, batch):
            file.write(line)
            count += 1
    os.replace(coming, out)
    return count


def unanswered(out: Path) -> Counter[str]:
    """Why lines of such a file were not answered: the code of an error -> how many have it."""
    codes = Counter[str]()
    with out.open("rb") as file:
        for line in map(json.loads, file):
            response = line["response"] or {}
            if line["error"]:
                codes[line["error"]["code"]] += 1
            elif response["status_code"] >= 400:
                codes[_code_of(response)] += 1
    return codes


def _code_of(response: dict[str, Any]) -> str:
    body = response["body"]
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return str(code or f"status {response['status_code']}")


def _lines(gateway: BatchConnection, batch: dict[str, Any]) -> Iterable[bytes]:
    if batch["status"] not in ENDED:
        return gateway.lines(f"/v1/batches/{batch['id']}/results")
    ids = [batch[name] for name in ("output_file_id", "error_file_id") if batch[name]]
    return heapq.merge(*(_content(gateway, id) for id in ids), key=_number)


def _content(gateway: BatchConnection, id: str) -> Iterator[bytes]:
    return gateway.lines(f"/v1/files/{id}/content")


def _number(line: bytes) -> int:
    return int(json.loads(line)["line"])
