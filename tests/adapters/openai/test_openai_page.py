"""docs/adapters/openai.md says of a status what the kind makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.errors import FailureClass
from adapters.http.failures import classify

PAGE = (Path(__file__).parents[3] / "docs" / "adapters" / "openai.md").read_text()
TABLE = PAGE.partition("## What its answers mean")[2].partition("\n## ")[0]


def claims() -> dict[int, FailureClass]:
    """Status -> the class that its row begins with, of rows that name plain statuses."""
    found = {}
    for statuses, kind in re.findall(r"^\| ([0-9][^|]*) \| ([A-Z_]+)", TABLE, re.MULTILINE):
        for first, last in re.findall(r"\b([3-5]\d\d)(?: to ([3-5]\d\d))?", statuses):
            if "message" not in statuses or first not in ("503",):
                for status in range(int(first), int(last or first) + 1):
                    found[status] = FailureClass[kind]
    return found


@pytest.mark.parametrize("status", sorted(claims()))
def test_a_status_without_words_means_what_the_page_says(status: int) -> None:
    assert classify(status) is claims()[status]


def test_the_page_has_every_status_that_is_not_like_its_neighbours() -> None:
    others = {4: FailureClass.INVALID, 5: FailureClass.FAILED}
    odd = {one for one in range(400, 600) if classify(one) is not others[one // 100]}
    assert odd - claims().keys() == set()


def test_the_words_of_a_503_and_of_a_quota_count_as_the_page_says() -> None:
    assert classify(503, b'{"error": "the model is loading"}') is FailureClass.LOADING
    for status in (400, 403, 429):
        body = b'{"error": {"code": "insufficient_quota"}}'
        assert classify(status, body) is FailureClass.QUOTA
