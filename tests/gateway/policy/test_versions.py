"""A name of several versions of a model: each caller gets one of them, and always the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.policies.changes import By
from gateway.policy.reader import PolicyError
from gateway.policy.sections.model_names import Alias
from gateway.types import ApiError, Principal
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read

SPLIT = POLICY.replace(
    "models:\n",
    """models:
  talk:1: {task: chat, backends: [home]}
  talk:2: {task: chat, backends: [burst]}
  talk: {split: {"talk:1": 90, "talk:2": 10}}
""",
)
CHAT = {"model": "talk", "messages": [{"role": "user", "content": "hi"}]}


def user(number: int, **tags: str) -> Principal:
    return Principal(key_id=f"key_{number}", user=f"user{number}", plan="default", tags=tags)


def test_users_get_versions_by_the_percentages_and_keep_them_as_a_share_grows() -> None:
    users = [user(number) for number in range(5000)]
    few, more = Alias(split={"a": 90, "b": 10}), Alias(split={"a": 75, "b": 25})
    counts = Counter(few.of(one) for one in users)
    assert 400 < counts["b"] < 600
    assert all(more.of(one) == "b" for one in users if few.of(one) == "b")
    assert [few.of(one) for one in users] == [few.of(one) for one in users]


def test_a_version_of_no_share_is_nobodys_and_one_of_all_everybodys() -> None:
    alias = Alias(split={"a": 0, "b": 100, "c": 0})
    assert {alias.of(user(number)) for number in range(500)} == {"b"}
    assert alias.of(None) == "b"


def test_whose_keys_have_the_same_tag_get_the_same_version() -> None:
    alias = Alias(split={"a": 50, "b": 50}, by_tag="team")
    for team in ("nlp", "search", "vision", "speech"):
        assert len({alias.of(user(number, team=team)) for number in range(50)}) == 1
    assert len({alias.of(user(number)) for number in range(50)}) == 2


async def test_a_call_runs_as_its_version_and_its_row_says_which(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = SPLIT.replace("90", "50").replace(": 10}", ": 50}")
    async with assembled(tmp_path, clock, text) as gateway:
        got = Counter[str]()
        for number in range(12):
            async with gateway.client(gateway.key(user=f"u{number}")) as client:
                answers = [await client.post("/v1/chat/completions", json=CHAT) for _ in range(2)]
                versions = {one.headers["x-spillgate-model"] for one in answers}
                assert len(versions) == 1, "always the same"
                [version] = versions
                got[version] += 1
                ran_at = answers[0].headers["x-spillgate-backend"]
                assert ran_at == {"talk:1": "home", "talk:2": "burst"}[version]
                [row] = await gateway.rows(answers[0].headers["x-request-id"])
                assert row.model == version
                listed = (await client.get("/v1/models/talk")).json()
                assert listed["alias_of"] == version
        assert got.keys() == {"talk:1", "talk:2"}
        async with gateway.client(gateway.key(user="alice")) as client:
            named = await client.post("/v1/chat/completions", json={**CHAT, "model": "talk:2"})
            assert named.headers["x-spillgate-backend"] == "burst"


@pytest.mark.parametrize(
    "text",
    [SPLIT, POLICY.replace("models:\n", "models:\n  gpt-4o: {alias: chat}\n")],
    ids=["versions", "an alias"],
)
def test_what_a_policy_says_of_itself_has_its_other_names(text: str) -> None:
    """It is what is kept of one that was applied, and put in force again after a restart."""
    policy = read(text)
    again = read(policy.document)
    assert (again.version, again.aliases) == (policy.version, policy.aliases)
    assert policy.aliases


WRONG = [
    pytest.param('{"talk:1": 90, "talk:2": 20}', "the percentages of all versions", id="sum"),
    pytest.param('{"talk:1": 90, "talk:3": 10}', "no 'talk:3' in models", id="of nothing"),
    pytest.param('{"talk:1": 90, any: 10}', "its versions are of several tasks", id="tasks"),
    pytest.param('{"talk:1": 190, "talk:2": -90}', "models.talk.split", id="below nothing"),
    pytest.param("{}", "a name is one of a model, or of a split", id="none"),
]


@pytest.mark.parametrize(("split", "said"), WRONG)
def test_a_split_that_cannot_be_is_told(split: str, said: str) -> None:
    with pytest.raises(PolicyError) as refused:
        read(SPLIT.replace('{"talk:1": 90, "talk:2": 10}', split))
    assert said in str(refused.value)


CHANGES = [
    pytest.param("talk:2: {task: chat, backends: [burst]}", "backends: [home, burst]", id="place"),
    pytest.param("talk:2: {task: chat, backends: [burst]}", "max_output_tokens: 7", id="parameter"),
]


async def applied(gateway: AssembledGateway, text: str) -> str:
    """The version that is in force then."""
    return (await gateway.inner.policies.apply(read(text), By("key:root"))).what.version


@pytest.mark.parametrize(("line", "change"), CHANGES)
async def test_a_version_in_force_is_not_changed_under_its_name(
    line: str, change: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, SPLIT) as gateway:
        key = change.partition(":")[0]
        changed = line.replace("backends: [burst]", change) if key in line else line[:-1]
        changed = changed if key in line else f"{changed}, {change}}}"
        named = rf"models\.talk:2\.{key} differs now"
        with pytest.raises(ApiError, match=named) as refused:
            await applied(gateway, SPLIT.replace(line, changed))
        assert (refused.value.status, refused.value.code) == (409, "version_changed")
        out = SPLIT.replace('{"talk:1": 90, "talk:2": 10}', '{"talk:1": 100}')
        await applied(gateway, out)
        await applied(gateway, out.replace(line, changed))
        back = await gateway.inner.policies.roll_back("", By("key:root"))
        assert back.what.version == read(out).version


async def test_the_backend_that_makes_a_version_another_one_is_named(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What all kinds have may change."""
    async with assembled(tmp_path, clock, SPLIT) as gateway:
        await applied(
            gateway, SPLIT.replace("kind: fake, slots: 2", "kind: fake, concurrency: 1, slots: 2")
        )
        with pytest.raises(ApiError, match=r"backends\.home\.slots differs now"):
            await applied(gateway, SPLIT.replace("slots: 2", "slots: 3"))


async def test_a_versions_promise_and_its_share_may_change(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, SPLIT) as gateway:
        text = SPLIT.replace("backends: [burst]}\n  talk:", "backends: [burst], slo: 9s}\n  talk:")
        assert text != SPLIT
        await applied(gateway, text.replace("90", "50").replace(": 10}", ": 50}"))


async def test_who_rolls_back_is_not_kept_from_it_by_a_version_that_was_another_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What was in force once may be so again; a reload of files may not change it unseen."""
    before = SPLIT.replace('{"talk:1": 90, "talk:2": 10}', '{"talk:1": 100}').replace(
        "talk:2: {task: chat, backends: [burst]}", "talk:2: {task: chat, backends: [home]}"
    )
    async with assembled(tmp_path, clock, before) as gateway:
        policies = gateway.inner.policies
        await applied(gateway, SPLIT)
        with pytest.raises(ApiError, match="talk:2"):
            await policies.reload(read(before.replace("slo: 20s", "slo: 21s")), By())
        back = await policies.roll_back("", By("key:root"))
        assert back.what.version == read(before).version
