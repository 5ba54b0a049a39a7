"""Which route a call takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.matching import COMPARISONS, MAX_REMEMBERED, Matcher, compile_routes
from gateway.policy.model import Policy, Route, When

CALL: dict[str, Any] = {
    "model": "minilm",
    "task": "embeddings",
    "user": "alice",
    "plan": "free",
    "priority": "normal",
    "tags": {"team": "search"},
    "stream": False,
    "body_bytes": 300,
}


def route(name: str, **when: Any) -> Route:
    return Route(name=name, when=When(**when), use=("b",))


def taken(*routes: Route, volume: float = 5000.0, **changes: Any) -> str:
    matcher = Matcher((*routes, route("default")))
    return matcher.match(**{**CALL, **changes}, requests_per_day=lambda: volume).name


@pytest.mark.parametrize(
    ("when", "miss"),
    [
        ({"model": "minilm"}, {"model": "gpt"}),
        ({"model": ("minilm", "other")}, {"model": "gpt"}),
        ({"task": "embeddings"}, {"task": "chat"}),
        ({"task": ("chat", "embeddings")}, {"task": "infer"}),
        ({"user": "alice"}, {"user": "bob"}),
        ({"user": ("alice", "carol")}, {"user": "bob"}),
        ({"plan": "free"}, {"plan": ""}),
        ({"plan": ("free", "gold")}, {"plan": "none"}),
        ({"priority": "normal"}, {"priority": "high"}),
        ({"priority": ("normal", "low")}, {"priority": "high"}),
        ({"tags": {"team": "search"}}, {"tags": {"team": "ads"}}),
        ({"tags": {"team": "search"}}, {"tags": {}}),
        ({"stream": False}, {"stream": True}),
        ({"body": ("<", 301.0)}, {"body_bytes": 301}),
        ({"body": ("<=", 300.0)}, {"body_bytes": 301}),
        ({"body": ("==", 300.0)}, {"body_bytes": 299}),
        ({"requests_per_day": (">", 4999.0)}, {"volume": 4999.0}),
        ({"requests_per_day": (">=", 5000.0)}, {"volume": 4999.0}),
    ],
)
def test_a_condition_is_met_by_one_call_and_missed_by_another(
    when: dict[str, Any], miss: dict[str, Any]
) -> None:
    """Each condition alone, both ways."""
    assert taken(route("r", **when)) == "r"
    assert taken(route("r", **when), **miss) == "default"


def test_all_conditions_of_a_route_must_hold() -> None:
    """Those looked up and those asked for each call."""
    one = route("r", user="alice", priority="normal", body=("<", 400.0), tags={"team": "search"})
    assert taken(one) == "r"
    misses: list[dict[str, Any]] = [{"user": "bob"}, {"priority": "low"}, {"body_bytes": 400}]
    for miss in [*misses, {"tags": {}}]:
        assert taken(one, **miss) == "default"


def test_the_first_match_wins() -> None:
    """Order in the file is order of preference."""
    assert taken(route("a", user="bob"), route("b", plan="free"), route("c")) == "b"


def test_what_was_remembered_of_one_call_does_not_decide_for_another() -> None:
    """The table is by everything that it decided on."""
    matcher = Matcher((route("a", stream=True), route("b", user="bob"), route("c")))
    asked = [("alice", False), ("bob", False), ("bob", True), ("alice", True), ("alice", False)]
    names = [
        matcher.match(**{**CALL, "user": u, "stream": s}, requests_per_day=lambda: 0.0).name
        for u, s in asked
    ]
    assert names == ["c", "b", "a", "a", "c"]


def test_the_volume_is_counted_only_for_a_route_that_asks_and_would_match_else() -> None:
    """Counting a day's calls is not free."""
    asked: list[str] = []

    def volume() -> float:
        asked.append("!")
        return 10.0

    routes = [route("a", user="bob", requests_per_day=("<", 1000.0)), route("b")]
    matcher = Matcher(routes)
    assert matcher.match(**CALL, requests_per_day=volume).name == "b"
    assert not asked
    assert matcher.match(**{**CALL, "user": "bob"}, requests_per_day=volume).name == "a"
    assert asked == ["!"]


def test_what_is_remembered_is_bounded() -> None:
    """However many plans the keys name."""
    matcher = compile_routes(Policy(version="", routes=(route("a", plan="p7"), route("b"))))
    for number in range(MAX_REMEMBERED * 2 + 5):
        matcher.match(**{**CALL, "plan": f"p{number}"}, requests_per_day=lambda: 0.0)
    assert len(matcher._remembered) <= MAX_REMEMBERED
    assert matcher.match(**{**CALL, "plan": "p7"}, requests_per_day=lambda: 0.0).name == "a"


def test_routes_without_a_last_resort_may_match_nothing() -> None:
    """A policy that was read always has one."""
    with pytest.raises(LookupError):
        Matcher((route("a", user="bob"),)).match(**CALL, requests_per_day=lambda: 0.0)


# --- against the plain reading of the rules ------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
SOME = st.one_of(st.none(), NAMES, st.lists(NAMES, max_size=2).map(tuple))
COMPARED = st.one_of(
    st.none(), st.tuples(st.sampled_from(list(COMPARISONS)), st.sampled_from([1.0, 2.0, 3.0]))
)
TAGS = st.dictionaries(NAMES, NAMES, max_size=2)
WHENS = st.builds(
    When,
    model=SOME,
    user=SOME,
    plan=SOME,
    tags=st.one_of(st.none(), TAGS),
    stream=st.one_of(st.none(), st.booleans()),
    requests_per_day=COMPARED,
    body=COMPARED,
)


def holds(when: When, call: dict[str, Any], volume: float) -> bool:
    def one_of(asked: Any, value: str) -> bool:
        return asked is None or (value in asked if isinstance(asked, tuple) else value == asked)

    def compared(condition: tuple[str, float] | None, value: float) -> bool:
        return condition is None or COMPARISONS[condition[0]](value, condition[1])

    return (
        all(one_of(getattr(when, name), call[name]) for name in ("model", "user", "plan"))
        and all(call["tags"].get(k) == v for k, v in (when.tags or {}).items())
        and when.stream in (None, call["stream"])
        and compared(when.body, call["body_bytes"])
        and compared(when.requests_per_day, volume)
    )


@settings(deadline=None, max_examples=150)
@given(
    st.lists(WHENS, max_size=5),
    st.lists(st.tuples(NAMES, NAMES, NAMES, TAGS, st.booleans(), st.integers(0, 4)), max_size=6),
    st.integers(0, 4),
)
def test_the_compiled_routes_agree_with_a_plain_reading(
    whens: list[When], calls: list[tuple[Any, ...]], volume: int
) -> None:
    """Call after call on one matcher, so that what it remembers is in play."""
    routes = [Route(name=str(n), when=when, use=("b",)) for n, when in enumerate(whens)]
    matcher = Matcher((*routes, route("default")))
    for model, user, plan, tags, stream, size in calls:
        call = {**CALL, "model": model, "user": user, "plan": plan, "tags": tags}
        call |= {"stream": stream, "body_bytes": size}
        first = next((r.name for r in routes if holds(r.when, call, volume)), "default")
        assert matcher.match(**call, requests_per_day=lambda: float(volume)).name == first
