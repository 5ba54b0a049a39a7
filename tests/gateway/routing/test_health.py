"""Blame has a scope, grows with failures in a row, and ends with the first success."""

from __future__ import annotations

import pytest

from adapters.errors import BackendError, FailureClass, Fault
from gateway.routing.health import (
    ALL,
    FORGET_S,
    HEALTHY,
    HEARSAY_S,
    LONGEST_S,
    TRIAL_S,
    BackendHealth,
    Failed,
    after_failure,
    after_good_word,
    after_nothing,
    after_success,
    after_trial_began,
)

F = FailureClass
CERTAIN = [F.UNREACHABLE, F.OVERLOADED, F.LOADING, F.NOT_STARTED]
DOUBTFUL = [F.FAILED, F.MALFORMED, F.WORKER_DIED, F.TIMEOUT, F.AMBIGUOUS, F.TRUNCATED]


def blamed(
    health: BackendHealth,
    failure: FailureClass,
    now: float,
    *,
    model: str = "chat",
    user: str = "ann",
    body: int = 1,
    trial: bool = False,
    draw: float = 0.0,
    fault: Fault | None = None,
    retry_after: float | None = None,
) -> BackendHealth:
    error = BackendError(failure, "it failed", fault=fault, retry_after=retry_after)
    return after_failure(health, Failed(error, model, user, body, trial), now, draw)


def rests(health: BackendHealth, now: float, model: str = "chat", user: str = "ann") -> str:
    resting = health.resting(model, user, now)
    return "" if resting is None else "hard" if resting.hard else "soft"


@pytest.mark.parametrize("failure", CERTAIN)
def test_one_certain_failure_sends_calls_elsewhere_and_a_second_keeps_them_away(
    failure: FailureClass,
) -> None:
    """A single refused connection takes the only backend of a model out of no service."""
    health = blamed(HEALTHY, failure, 100.0)
    assert rests(health, 100.5) == "soft"
    assert rests(health, 101.0) == ""
    again = blamed(health, failure, 101.0)
    assert rests(again, 102.5) == ("soft" if failure is F.LOADING else "hard")


@pytest.mark.parametrize("failure", DOUBTFUL)
def test_what_his_own_request_may_have_caused_keeps_one_caller_away_alone(
    failure: FailureClass,
) -> None:
    """The first is forgiven; however often it happens to him, nobody else notices, and where no
    other backend can take his calls he is not kept away either."""
    health = blamed(HEALTHY, failure, 100.0)
    assert rests(health, 100.0) == ""
    for number in range(2, 9):
        now = 50.0 + 50.0 * number
        health = blamed(health, failure, now, body=number)
        assert rests(health, now) == "soft"
        assert rests(health, now, user="bob") == ""


@pytest.mark.parametrize("failure", DOUBTFUL)
def test_two_callers_who_meet_the_same_are_not_the_cause(failure: FailureClass) -> None:
    """Then everybody's calls of the model go elsewhere; those of other models do not. Where no
    other backend can take them they are not kept away: two may write the same bad request."""
    health = blamed(blamed(HEALTHY, failure, 100.0), failure, 100.1, user="bob")
    assert rests(health, 100.2, user="cyd") == "soft"
    assert rests(health, 100.2, user="cyd", model="other") == ""
    health = blamed(health, failure, 101.2, user="cyd")
    assert rests(health, 102.9, user="dan") == "soft"


NOT_CANCELLED = [f for f in F if f is not F.CANCELLED]
MAYBE_CAUSED = [(f, Fault.SUSPECT) for f in NOT_CANCELLED] + [(f, Fault.BACKEND) for f in DOUBTFUL]


@pytest.mark.parametrize(
    ("failure", "fault"), MAYBE_CAUSED, ids=lambda one: str(getattr(one, "slug", one))
)
def test_nothing_that_a_request_may_have_caused_closes_a_backend(
    failure: FailureClass, fault: Fault
) -> None:
    """However many callers send however many such requests, and whatever their answers ask for."""
    health = HEALTHY
    for number in range(60):
        health = blamed(
            health, failure, 100.0 + number, user=f"u{number % 5}", body=number,
            fault=fault, retry_after=30.0,
        )  # fmt: skip
        assert rests(health, 100.0 + number, user="zoe") != "hard"
    assert health.scopes[("chat", "")].until <= 160.0 + LONGEST_S
    assert health.scopes[("chat", "")].floor <= 160.0


def test_calls_that_somebody_ended_at_the_platform_say_nothing_of_its_health() -> None:
    assert blamed(HEALTHY, F.CANCELLED, 100.0, fault=Fault.BACKEND) is HEALTHY


@pytest.mark.parametrize("failure", DOUBTFUL)
def test_two_callers_who_met_the_same_long_apart_are_two_strangers(failure: FailureClass) -> None:
    health = blamed(HEALTHY, failure, 100.0)
    health = blamed(health, failure, 100.0 + FORGET_S, user="bob")
    assert rests(health, 100.0 + FORGET_S, user="cyd") == ""
    assert list(health.scopes) == [("chat", "bob")]


def test_what_failed_while_a_call_was_under_way_is_not_long_ago() -> None:
    """One that breaks off each answer after minutes fails in a row like any other."""
    health, took_s = HEALTHY, 2 * FORGET_S
    for number in range(1, 3):
        error = BackendError(F.TIMEOUT, "its answer stopped coming")
        failed = Failed(error, "chat", "ann", number, took_s=took_s)
        health = after_failure(health, failed, number * took_s, 0.0)
    assert rests(health, 2 * took_s, user="ann") == "soft"


def test_failures_count_in_a_row_only_while_they_are_fresh() -> None:
    """A backend that fails once an hour rests a second each time, never a minute."""
    health = HEALTHY
    for hour in range(9):
        now = 3600.0 * hour
        health = blamed(health, F.UNREACHABLE, now)
        assert (rests(health, now + 0.9), rests(health, now + 1.0)) == ("soft", "")


@pytest.mark.parametrize("failure", [F.QUOTA, F.CREDENTIAL, F.GONE, F.TOO_LARGE, F.INVALID])
def test_a_request_that_is_suspect_counts_once_however_often_it_is_repeated(
    failure: FailureClass,
) -> None:
    """A client that tries again by itself is no second witness; a different request is one."""
    health = HEALTHY
    for number in range(5):
        health = blamed(health, failure, 100.0 + number, body=7, fault=Fault.SUSPECT)
    assert rests(health, 105.0) == ""
    health = blamed(health, failure, 106.0, body=8, fault=Fault.SUSPECT)
    assert rests(health, 106.5) == "soft"
    assert rests(health, 106.5, user="bob") == ""


@pytest.mark.parametrize("fault", [Fault.REQUEST, Fault.HERE])
@pytest.mark.parametrize("failure", list(FailureClass), ids=lambda f: f.slug)
def test_a_requests_own_fault_is_nobody_elses(failure: FailureClass, fault: Fault) -> None:
    assert blamed(HEALTHY, failure, 5.0, fault=fault) is HEALTHY


def test_rests_double_up_to_a_minute() -> None:
    """A backend that stays away is asked ever more seldom, but at least once a minute."""
    health, now, pauses = HEALTHY, 100.0, []
    for _ in range(9):
        health = blamed(health, F.UNREACHABLE, now)
        until = health.scopes[ALL].until
        pauses.append(until - now)
        now = until
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_a_rest_is_shorter_by_a_fifth_at_most() -> None:
    """So that gateways that saw the same do not come back in the same instant."""
    longest = blamed(HEALTHY, F.UNREACHABLE, 100.0, draw=0.0).scopes[ALL].until
    shortest = blamed(HEALTHY, F.UNREACHABLE, 100.0, draw=1.0).scopes[ALL].until
    assert (longest, shortest) == (101.0, 100.8)


def test_calls_that_fail_together_are_blamed_as_one() -> None:
    """A server that restarts under a hundred calls is away for a moment, not for a minute."""
    health = HEALTHY
    for number in range(100):
        health = blamed(health, F.UNREACHABLE, 50.0 + number / 1000, user=str(number))
    assert health.failures == 1
    assert rests(health, 51.0) == ""


@pytest.mark.parametrize("failure", [F.CREDENTIAL, F.GONE])
def test_what_only_an_operator_mends_rests_longest_at_once(failure: FailureClass) -> None:
    """A wrong key is not tried on every call."""
    health = blamed(HEALTHY, failure, 5.0)
    assert rests(health, 64.0) == "hard"
    assert rests(health, 65.0) == ""


def test_an_overloaded_backend_is_left_alone_for_as_long_as_it_asks() -> None:
    """Up to a minute; and no good word of its own ends that sooner."""
    health = blamed(HEALTHY, F.OVERLOADED, 10.0, retry_after=7.0)
    assert rests(after_good_word(health, is_news=False), 16.9) == "hard"
    assert rests(health, 17.0) == ""
    assert rests(blamed(HEALTHY, F.OVERLOADED, 10.0, retry_after=9999.0), 70.0) == ""


def test_one_success_forgives_everything_that_it_contradicts() -> None:
    """What another model of the same backend met stays as it was."""
    health = blamed(HEALTHY, F.UNREACHABLE, 100.0)
    for user in ("ann", "bob"):
        health = blamed(health, F.FAILED, 100.0, user=user)
    assert after_success(health, "chat") is HEALTHY
    other = blamed(health, F.LOADING, 100.0, model="other")
    assert list(after_success(other, "chat").scopes) == [("other", "")]


# --- the one that is let through ------------------------------------------------------------------


def rested() -> BackendHealth:
    """Hard, and over at 103."""
    return blamed(blamed(HEALTHY, F.UNREACHABLE, 100.0), F.UNREACHABLE, 101.0)


def test_after_a_rest_one_call_is_let_through_and_the_others_wait_for_it() -> None:
    health = rested()
    assert not health.is_due("chat", "ann", 102.9)
    assert health.is_due("chat", "ann", 103.0)
    tried = after_trial_began(health, "chat", "ann", 103.0)
    assert not tried.is_due("chat", "bob", 103.1)
    assert rests(tried, 103.1, user="bob") == "hard"


def test_a_trial_that_fails_makes_the_rest_longer_and_one_that_says_nothing_lets_another_in() -> (
    None
):
    tried = after_trial_began(rested(), "chat", "ann", 103.0)
    failed = blamed(tried, F.UNREACHABLE, 103.5, trial=True)
    assert failed.scopes[ALL].until == 107.5
    assert after_nothing(tried, "chat", "ann").is_due("chat", "bob", 103.5)
    flagged = blamed(tried, F.FLAGGED, 103.5, trial=True)
    assert flagged.is_due("chat", "bob", 103.5)


def test_a_trial_that_takes_long_holds_nobody_up() -> None:
    tried = after_trial_began(rested(), "chat", "ann", 103.0)
    assert tried.is_due("chat", "bob", 103.0 + TRIAL_S)


def test_the_backends_own_good_word_ends_a_long_rest_soon() -> None:
    """Its health page may be wrong: one call in three seconds finds that out."""
    health, now = HEALTHY, 0.0
    for _ in range(8):
        health = blamed(health, F.UNREACHABLE, now)
        now = health.scopes[ALL].until
    began = health.scopes[ALL].since
    well = after_good_word(health, is_news=False)
    assert rests(well, began + HEARSAY_S - 0.1) == "hard"
    assert well.is_due("chat", "ann", began + HEARSAY_S)


def silent(health: BackendHealth, times: int, now: float) -> tuple[BackendHealth, float]:
    """So many of the calls that were let through were silent; when the next one is."""
    for _ in range(times):
        health = blamed(health, F.TIMEOUT, now, trial=True)
        now = health.scopes["chat", "ann"].until or now + 1.0
    return health, now


@pytest.mark.parametrize("is_news", [False, True])
def test_a_word_that_was_as_good_while_calls_were_silent_ends_no_rest_from_silence(
    is_news: bool,
) -> None:
    health, until = silent(HEALTHY, 8, 0.0)
    began = health.scopes["chat", "ann"].since
    word = after_good_word(health, is_news=is_news)
    assert until - began > 10 * HEARSAY_S
    assert word.is_due("chat", "ann", began + HEARSAY_S) == is_news


def test_no_word_is_believed_again_after_which_calls_were_silent_again() -> None:
    """Until something was answered."""
    health, rested = silent(HEALTHY, 6, 0.0)
    again, until = silent(after_good_word(health, is_news=True), 1, rested)
    assert after_good_word(again, is_news=True).scopes["chat", "ann"].until == until
    anew, _ = silent(after_success(again, "chat"), 6, 200.0)
    began = anew.scopes["chat", "ann"].since
    assert after_good_word(anew, is_news=True).is_due("chat", "ann", began + HEARSAY_S)


def test_scopes_that_have_not_failed_for_long_are_forgotten() -> None:
    """A million callers leave no million records."""
    health = HEALTHY
    for number in range(10_000):
        health = blamed(health, F.FAILED, float(number), model=str(number), user="ann")
    assert len(health.scopes) <= FORGET_S


# --- what is old, and what is shown ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed_s", "together"), [(1.0, True), (FORGET_S - 1, True), (FORGET_S, False), (9e4, False)]
)
def test_what_another_caller_met_counts_for_a_minute(passed_s: float, together: bool) -> None:
    health = blamed(HEALTHY, F.FAILED, 100.0)
    health = blamed(health, F.FAILED, 100.0 + passed_s, user="bob")
    assert (rests(health, 100.0 + passed_s, user="cyd") == "soft") is together


def test_a_minute_is_counted_from_the_end_of_the_rest_that_followed() -> None:
    """Else nobody but the one who tries the backend after a long rest would be left to witness."""
    health = blamed(blamed(HEALTHY, F.FAILED, 100.0), F.FAILED, 100.1, user="bob")
    until = health.scopes["chat", ""].until
    again = blamed(health, F.FAILED, until + FORGET_S - 1, user="cyd")
    assert again.scopes["chat", ""].failures == 2


def test_any_success_ends_the_failures_in_a_row() -> None:
    """Even where calls of another model are still kept away."""
    health = blamed(blamed(HEALTHY, F.LOADING, 100.0), F.LOADING, 100.0, model="other")
    assert health.failures == 2
    assert after_success(health, "chat").failures == 0
    assert after_success(health, "chat").scopes


def test_rests_are_told_by_whom_they_keep_away_and_from_what() -> None:
    health = blamed(HEALTHY, F.UNREACHABLE, 100.0)
    for number in range(2):
        health = blamed(health, F.FAILED, 100.0, body=number)
    told = {(one.model, one.user): (one.cause, one.hard) for one in health.rests(100.5)}
    assert told == {("", ""): ("unreachable", False), ("chat", "ann"): ("failed", False)}
    assert health.rests(200.0) == []
