"""What the end-to-end tests look at from outside: metrics, and whether something has come about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.live import LiveGateway


def metric(gateway: LiveGateway, name: str, **labels: str) -> float:
    """The sum over the samples of that name which have these labels; 0 where there is none."""
    with gateway.client("") as client:
        text = client.get("/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str, within_s: float = 15.0
) -> None:
    """Asks again and again, as other processes need their own time; fails past ``within_s``."""
    deadline = time.monotonic() + within_s
    while True:
        met = condition()
        if met if isinstance(met, bool) else await met:
            return
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.05)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """(status, code) of an error in OpenAI's shape, with nothing missing."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert error["type"]
    return answer.status_code, error["code"]
