"""What the end-to-end tests look at from outside: metrics, and whether something has come about."""

from __future__ import annotations

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


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """(status, code) of an error in OpenAI's shape, with nothing missing."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert error["type"]
    return answer.status_code, error["code"]
