"""A request may say whose its call is below its key, within what the policy takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.access_log import AccessLog
from gateway.clock import FakeClock
from gateway.log_lines import LineWriter
from gateway.policy.syntax.problems import PolicyError
from gateway.tag_values import TagValues
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read
from tests.gateway.pipes import Pipe

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
URL = "/v1/chat/completions"
TAG = "X-Spillgate-Tag"
TAKES = "tags: {take: [feature, team], user_as: end-user, metadata: true"
TAGGED = POLICY + TAKES + "}\n"
CHOOSES = TAKES + ", choose_limits: true}\n"


async def tags_in(gateway: AssembledGateway, answer: httpx.Response) -> dict[str, str]:
    """Those of the call's row."""
    assert answer.status_code == 200, answer.text
    return (await gateway.row(answer.headers["x-request-id"])).tags


GIVEN: dict[str, tuple[dict[str, str], dict[str, Any], dict[str, str]]] = {
    "nothing": ({}, {}, {}),
    "one": ({TAG: "feature=search"}, {}, {"feature": "search"}),
    "two": ({TAG: "feature=search, team=ads"}, {}, {"feature": "search", "team": "ads"}),
    "a comma and more": ({TAG: "feature=a%2Cb=%C3%BC"}, {}, {"feature": "a,b=ü"}),
    "one that is not taken": ({TAG: "colour=red"}, {}, {}),
    "a user": ({}, {"user": "u-17"}, {"end-user": "u-17"}),
    "metadata": ({}, {"metadata": {"feature": "x", "other": "y"}}, {"feature": "x"}),
    "both: the header goes first": (
        {TAG: "feature=h"},
        {"metadata": {"feature": "m", "team": "t"}},
        {"feature": "h", "team": "t"},
    ),
    "values of other types": ({}, {"user": 7, "metadata": {"feature": ["x"]}}, {}),
    "metadata that is no object": ({}, {"metadata": "feature"}, {}),
    "a text too long": ({}, {"user": "u" * 129}, {"end-user": "other"}),
    "a text of two lines": ({}, {"metadata": {"feature": "x\ny"}}, {"feature": "other"}),
    "the end user in a header": ({TAG: "end-user=me"}, {}, {}),
}


@pytest.mark.parametrize("given", GIVEN)
async def test_what_the_policy_takes_is_in_the_row_and_told(
    given: str, tmp_path: Path, clock: FakeClock
) -> None:
    headers, fields, wanted = GIVEN[given]
    async with assembled(tmp_path, clock, TAGGED) as gateway, gateway.client() as client:
        answer = await client.post(URL, json=CHAT | fields, headers=headers)
        assert await tags_in(gateway, answer) == wanted
        told = answer.headers.get(TAG, "")
        assert [one.partition("=")[0] for one in told.split(", ") if one] == list(wanted)


async def test_what_is_told_reads_back_as_what_was_given(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, TAGGED) as gateway, gateway.client() as client:
        first = await client.post(URL, json=CHAT, headers={TAG: "feature=50%25%2C %C3%BC"})
        again = await client.post(URL, json=CHAT, headers={TAG: first.headers[TAG]})
        assert await tags_in(gateway, again) == {"feature": "50%, ü"}


async def test_a_header_in_several_lines_is_one_list(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, TAGGED) as gateway, gateway.client() as client:
        lines = [(TAG, "feature=a"), (TAG, "team=b")]
        answer = await client.post(URL, json=CHAT, headers=lines)
        assert await tags_in(gateway, answer) == {"feature": "a", "team": "b"}


async def test_what_a_key_has_no_request_changes(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, TAGGED) as gateway:
        key = gateway.key("bob", tags={"team": "nlp", "site": "b"})
        async with gateway.client(key) as client:
            answer = await client.post(URL, json=CHAT, headers={TAG: "team=ads, feature=x"})
            wanted = {"feature": "x", "team": "nlp", "site": "b"}
            assert await tags_in(gateway, answer) == wanted
            assert "team=nlp" in answer.headers[TAG]


async def test_a_policy_without_tags_takes_none(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(URL, json=CHAT | {"user": "u"}, headers={TAG: "feature=x"})
        assert await tags_in(gateway, answer) == {}
        assert TAG not in answer.headers


BAD = {
    "no value": ("feature", "must be name=value"),
    "an empty value": ("feature=", "must be name=value"),
    "no name": ("=x", "must be name=value"),
    "too long": ("feature=" + "x" * 129, "must be name=value"),
    "two lines": ("feature=a%0Ab", "must be name=value"),
    "no UTF-8": ("feature=%ff", "no UTF-8"),
    "twice": ("feature=a,feature=b", "twice"),
    "many": (",".join(f"t{number}=x" for number in range(17)), "more than 16"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_header_that_cannot_be_read_is_refused(
    bad: str, tmp_path: Path, clock: FakeClock
) -> None:
    header, words = BAD[bad]
    async with assembled(tmp_path, clock, TAGGED) as gateway, gateway.client() as client:
        answer = await client.post(URL, json=CHAT, headers={TAG: header})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_header", TAG)
        assert words in error["message"]


async def test_a_native_call_has_tags_from_its_header_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, TAGGED) as gateway, gateway.client() as client:
        headers = {TAG: "feature=x"}
        answer = await client.post("/v1/infer/any", json={"user": "u"}, headers=headers)
        assert await tags_in(gateway, answer) == {"feature": "x"}


async def test_values_past_the_bound_are_one(tmp_path: Path, clock: FakeClock) -> None:
    """Of each key for itself, and anew each day."""
    async with assembled(tmp_path, clock, POLICY + TAKES + ", values: 2}\n") as gateway:
        seen = []
        async with gateway.client() as client:
            for value in ("a", "b", "c", "a", "d"):
                answer = await client.post(URL, json=CHAT, headers={TAG: f"feature={value}"})
                seen.append((await tags_in(gateway, answer))["feature"])
        async with gateway.client(gateway.key("bob")) as client:
            answer = await client.post(URL, json=CHAT, headers={TAG: "feature=c"})
            seen.append((await tags_in(gateway, answer))["feature"])
        assert seen == ["a", "b", "other", "a", "other", "c"]


def test_a_day_begins_with_no_values() -> None:
    values = TagValues()
    days = [values.within("k", "t", value, 1, day * 86_400.0) for day in (0, 1) for value in "ab"]
    assert days == ["a", "other", "a", "other"]
    assert values.within("k", "t", "b", 1, 2 * 86_400.0) == "b"


async def test_usage_is_told_by_a_tag_of_requests(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, TAGGED) as gateway, gateway.client() as client:
        for feature in ("x", "x", "y"):
            await client.post(URL, json=CHAT, headers={TAG: f"feature={feature}"})
        told = (await client.get("/usage?group_by=tag:feature")).json()["rows"]
        assert {row["tag:feature"]: row["calls"] for row in told} == {"x": 2, "y": 1}
        [call, *_] = (await client.get("/usage/calls?tag:feature=y")).json()["data"]
        assert call["tags"] == {"feature": "y"}


async def test_a_limit_of_a_tag_holds_for_requests_that_give_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY + CHOOSES + "limits: {tags: {feature: {x: {requests: 2/day UTC}}}}\n"
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        statuses = [
            (await client.post(URL, json=CHAT, headers={TAG: f"feature={feature}"})).status_code
            for feature in ("x", "y", "x", "y", "x", "y")
        ]
        assert statuses == [200, 200, 200, 200, 429, 200]


async def test_a_limit_of_each_value_counts_each_for_itself(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY + CHOOSES + "limits: {tags: {end-user: {'*': {requests: 1/day UTC}}}}\n"
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        statuses = [
            (await client.post(URL, json=CHAT | {"user": user})).status_code
            for user in ("u1", "u2", "u1", "u2")
        ]
        assert statuses == [200, 200, 429, 429]


ROUTES = "routes: [{name: fast, when: {tags: {feature: x}}, use: [burst]}]\n"


@pytest.mark.parametrize(
    ("chooses", "route"), [(False, "default"), (True, "fast")], ids=["not", "chooses"]
)
async def test_a_tag_of_a_request_chooses_a_route_where_the_policy_says_so(
    chooses: bool, route: str, tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY + ROUTES + TAKES + f", choose_routes: {str(chooses).lower()}}}\n"
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        headers = {TAG: "feature=x"}
        told = (await client.post("/v1/route/explain", json=CHAT, headers=headers)).json()
        answer = await client.post(URL, json=CHAT, headers=headers)
        row = await gateway.row(answer.headers["x-request-id"])
        assert (told["route"], row.route) == (route, route)


async def test_tags_are_in_the_access_log(tmp_path: Path, pipe: Pipe, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, TAGGED) as gateway:
        writer = LineWriter(pipe)
        gateway.inner.access_log = AccessLog(writer, clock)
        async with gateway.client() as client:
            await client.post(URL, json=CHAT, headers={TAG: "feature=x"})
        gateway.inner.access_log.hand_over()
        writer.close()
        [line] = map(json.loads, pipe.lines)
        assert line["tags"] == {"feature": "x"}


def test_metadata_without_names_is_a_mistake() -> None:
    with pytest.raises(PolicyError, match="names in `take` alone"):
        read(POLICY + "tags: {metadata: true}\n")
