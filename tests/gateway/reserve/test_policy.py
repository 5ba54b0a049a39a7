"""What a policy may say of rented capacity, and a gateway that finds some from before its start."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.clock import FakeClock
from gateway.policy.reader import PolicyError
from gateway.reserve.advised import advised_by
from gateway.reserve.earlier_file import FILE
from gateway.reserve.rented import Rented, read_stored
from gateway.storage.rented.memory import MemoryInstances
from tests.adapters.servers import answer, scripted
from tests.gateway.assembled import POLICY, assembled, read
from tests.gateway.reserve.stage import RENTS
from tests.waiting import until

TOKEN = {"TOKEN": "secret"}
COMMITTED = "commitments:\n  gpu: {backend: home, per_hour: 3.6, start: 2026-01-01, source: t}\n"


def test_a_reserve_says_what_starts_and_stops_its_instances() -> None:
    rule = read(RENTS, TOKEN).reserve["pods"]
    assert (rule.start, rule.stop, rule.most) == ("https://hooks.test/start", "/opt/stop", 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RENTS.replace("plan: act", "plan: off"), "burst has no plan in the warm pool"),
        (RENTS.replace("backend: home", "backend: burst"), "burst has no price by the hour"),
        (RENTS + COMMITTED, "the hours of home are booked by commitments.gpu"),
        (RENTS.replace("/opt/stop", "stop.sh"), "neither a URL nor the absolute path"),
        (RENTS.replace("/opt/stop", "http://[::1/stop"), "reserve.pods.stop: it is neither a URL"),
        (RENTS.replace("hooks.test", "hooks.test:99999"), "no number from 1 to 65535"),
        (RENTS.replace("/opt/stop", "'/opt/my stop'"), "reserve.pods.stop: it holds a blank"),
        (
            RENTS.replace("timeout: 1s", "").replace("most: 2", "most: 2\n    timeout: 5m"),
            "at most",
        ),
        (
            RENTS + "  more: {backend: home, plan: burst, start: /a, stop: /b, most: 1}\n",
            "reserve.pods has instances of home already",
        ),
    ],
    ids=[
        *("no plan", "no hours", "committed", "no path"),
        *("no host", "no port", "a blank", "too long", "twice"),
    ],
)
def test_what_cannot_be_is_told(text: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(text, TOKEN)
    assert said in str(caught.value)


def test_a_token_that_no_hook_can_be_sent_is_told_and_not_repeated() -> None:
    with pytest.raises(PolicyError, match=r"reserve\.pods\.token: .* of ASCII alone") as caught:
        read(RENTS, {"TOKEN": "tök"})
    assert "tök" not in str(caught.value)


async def test_what_a_plan_advises_is_less_what_others_run_by_the_hour(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nothing is advised at first, and never less than nothing."""
    text = RENTS.replace("token: ${TOKEN}\n", "\n")
    async with assembled(tmp_path, clock, text) as gateway:
        await clock.advance(2.0)
        plans, active = gateway.inner.plans, gateway.inner.active
        assert plans is not None
        plan = plans.last("burst")
        assert plan is not None
        assert advised_by(active, plan, active.policy.reserve["pods"]) == 0


async def test_a_gateway_stops_what_it_finds_from_before_its_start(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Though its policy knows nothing of it any more."""
    async with scripted(answer({})) as (script, url):
        pod = Rented(
            id="i7",
            reserve="pods",
            backend="home",
            hourly_nano=1,
            began=int(clock.time()) - 60,
            stop=f"{url}/stop",
            timeout_s=5.0,
            state="up",
        )
        (tmp_path / FILE).write_bytes(msgspec.json.encode([pod]))
        text = POLICY.replace("access_log: false}", f'access_log: false, data: "{tmp_path}"}}')
        instances = MemoryInstances(clock.time)
        async with assembled(tmp_path, clock, text, rented=instances):

            async def ended() -> bool:
                await clock.advance(1.0)
                return [read_stored(one).state for one in instances.instances] == ["ended"]

            await until(ended, "the instance is stopped")
        assert [read_stored(one).ended for one in instances.instances] == [pod.began + 3600]
        assert script.requests[0].target == "/stop"
        assert not (tmp_path / FILE).exists(), "it is in the store by now"
