"""What a valid policy says in vain."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from gateway.policy.reader import load_with_places, read_policy_text
from gateway.policy.warnings.every import warnings_of
from tests.gateway.policy.kinds import ENVIRON, KINDS

TODAY = datetime.date(2026, 11, 22)

HEAD = """\
version: 1
backends:
  home: {kind: home, app: a, price: own}
  burst: {kind: home, app: b, price: flex, cold_start: {p50: 1s, p95: 2s}}
models:
  emb: {task: embeddings, backends: [home, burst]}
  gpt: {task: chat, backends: [burst]}
prices:
  own: {per_hour: 2.69, as_of: 2026-11-09}
  flex: {per_second: 0.001}
plans: {default: {}, free: {}}
"""


def warned(tail: str, *, head: str = HEAD) -> list[str]:
    policy = read_policy_text(head + tail, ENVIRON, kinds=KINDS)
    return [f"{p.path}: {p.message}" for p in warnings_of(policy, today=TODAY)]


def routes(*lines: str) -> str:
    rest = "  - {name: rest, use: [home, burst]}\n"
    return "routes:\n" + "".join(f"  - {{{line}}}\n" for line in lines) + rest


def test_a_sound_policy_gives_no_warning() -> None:
    """Each of the following differs from it in one thing."""
    assert warned("") == []
    assert warned(routes("name: a, use: [burst], when: {plan: free, body: '> 100'}")) == []


@pytest.mark.parametrize(
    ("route", "why"),
    [
        ("retries: {attempts: 1}, repeat: always", "lets a call be asked once"),
        ("repeat: auto", "billed by the second"),
        ("idempotent: false, repeat: always", "must be idempotent"),
        ("repeat: always", None),
    ],
)
def test_a_hedge_that_can_never_be_is_told(route: str, why: str | None) -> None:
    found = warned(
        routes(f"name: a, when: {{plan: free}}, use: [home, burst], hedge: {{}}, {route}")
    )
    assert len(found) == (why is not None)
    assert all(one.startswith("routes[0].hedge: ") and why in one for one in found if why)


def test_callers_regions_in_which_nothing_runs_are_told() -> None:
    said = "regions: {header: X-Region, trusted: [10.0.0.0/8], names: {DE: eu, US: us}}\n"
    assert warned(said) == [
        "regions: without effect: no backend has a region",
        "regions.names.DE: no backend runs in eu",
        "regions.names.US: no backend runs in us",
    ]
    head = HEAD.replace("app: b, price: flex", "app: b, price: flex, region: eu")
    assert warned(said, head=head) == ["regions.names.US: no backend runs in us"]


def test_a_route_of_a_region_in_which_nothing_of_a_model_runs_is_told() -> None:
    head = HEAD.replace("app: b, price: flex", "app: b, price: flex, region: eu")
    assert warned(routes("name: a, use: [burst], regions: [eu]"), head=head) == [
        "routes[1]: never reached: the route a takes each of its calls first"
    ]
    said = warned(routes("name: a, use: [home, burst], regions: [us], when: {user: b}"), head=head)
    assert sorted(said) == [
        "routes[0].regions: no backend runs in us",
        "routes[0].use: no model that the route takes lists any of these backends in its regions",
    ]


def test_routes_after_one_without_conditions_are_never_reached() -> None:
    """All of them, named after the one that takes their calls."""
    said = warned(routes("name: all, use: [burst]", "name: b, use: [burst], when: {user: bob}"))
    assert said == [
        "routes[1]: never reached: the route all takes each of its calls first",
        "routes[2]: never reached: the route all takes each of its calls first",
    ]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("priority: high", "priority: high, user: bob"),
        ("model: [emb, gpt]", "model: emb"),
        ("requests_per_day: '< 1000'", "requests_per_day: '< 100'"),
        ("requests_per_day: '<= 9'", "requests_per_day: '< 9'"),
        ("requests_per_day: '>= 0'", "requests_per_day: '== 7'"),
        ("body: '> 5'", "body: '>= 6', stream: true"),
        ("tags: {team: a}", "tags: {team: a, tier: b}"),
    ],
)
def test_a_route_inside_an_earlier_one_is_never_reached(wide: str, narrow: str) -> None:
    """And the other way round both have their calls."""
    first, second = (
        f"name: {n}, use: [burst], when: {{{w}}}" for n, w in (("w", wide), ("n", narrow))
    )
    assert warned(routes(first, second)) == [
        "routes[1]: never reached: the route w takes each of its calls first"
    ]
    assert warned(routes(second, first)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("user: bob", "user: [bob, alice]"),
        ("stream: true", "stream: false"),
        ("body: '< 10'", "body: '<= 10'"),
        ("tags: {team: a}", "tags: {team: b}"),
        ("requests_per_day: '< 10'", "body: '< 10'"),
    ],
)
def test_routes_that_only_overlap_are_no_warning(first: str, second: str) -> None:
    """Some call is left for the second."""
    lines = (f"name: r{n}, use: [burst], when: {{{w}}}" for n, w in enumerate((first, second)))
    assert warned(routes(*lines)) == []


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("requests_per_day: '< 0'", "when.requests_per_day: never matches: no count is < 0"),
        ("body: '== 1.5'", "when.body: never matches: no count is == 1.5"),
        ("user: []", "when.user: never matches: an empty list"),
        ("model: gtp", "when.model: never matches gtp: the policy has no such model"),
        ("plan: [free, glod]", "when.plan: never matches glod: the policy has no such plan"),
        (
            "model: emb, task: chat",
            "when.task: never matches: no model that the route takes does this task",
        ),
    ],
)
def test_conditions_that_nothing_meets_are_told(when: str, message: str) -> None:
    """With the key that is at fault."""
    said = warned(routes(f"name: r, use: [burst], when: {{{when}}}"))
    assert said == [f"routes[0].{message}"]


def test_a_route_that_uses_no_backend_of_its_models_is_told() -> None:
    """Its calls would find nobody."""
    said = warned(routes("name: r, use: [home], when: {model: gpt}"))
    assert said == ["routes[0].use: no model that the route takes lists any of these backends"]


def test_a_model_that_a_route_leaves_without_a_backend_is_told() -> None:
    """While its other models are served."""
    said = warned(routes("name: r, use: [home], when: {priority: high}"))
    assert said == ["routes[0].use: leaves the model gpt without a backend: it lists none of these"]


def test_weights_that_do_nothing_are_told() -> None:
    """By the order, by the route, and a backend that was forgotten."""
    assert warned(routes("name: r, use: [burst], when: {stream: true}, weights: {burst: 1}")) == [
        "routes[0].weights: without effect: the order is cheapest, not weighted"
    ]
    line = "name: r, use: [burst], when: {stream: true}, order: weighted, weights: {home: 1}"
    assert warned(routes(line)) == [
        "routes[0].weights.home: without effect: the route does not use home",
        "routes[0].weights: burst has no weight, so the route never chooses it",
    ]


def test_what_nobody_uses_is_told() -> None:
    """A backend that no model lists or no route uses, a price of no backend."""
    spare = HEAD.replace("prices:\n", "prices:\n  old: {per_call: 1}\n").replace(
        "models:\n", "  spare: {kind: home, app: c}\nmodels:\n"
    )
    assert warned("", head=spare) == [
        "backends.spare: no model lists it",
        "prices.old: no backend has this price",
    ]
    assert "backends.home: no route uses it" in warned("routes: [{name: r, use: [burst]}]\n")


def test_a_plan_is_unused_only_by_what_the_keys_say() -> None:
    """A policy cannot know its keys."""
    policy = read_policy_text(HEAD, ENVIRON, kinds=KINDS)
    said = warnings_of(policy, today=TODAY, plans_in_use=["default"])
    assert [str(p) for p in said] == ["policy: plans.free: no key is on this plan"]
    assert warnings_of(policy, today=TODAY, plans_in_use=["default", "free"]) == ()


@pytest.mark.parametrize(
    ("day", "message"),
    [
        ("2026-05-26", None),
        ("2026-05-25", "looked up 181 days ago; see whether it still holds"),
        ("2026-11-23", "lies in the future"),
    ],
)
def test_a_price_is_old_after_180_days(day: str, message: str | None) -> None:
    """Platforms change their prices several times a year."""
    said = warned("", head=HEAD.replace("2026-11-09", day))
    assert said == ([] if message is None else [f"prices.own.as_of: {message}"])


def test_keeping_warm_what_is_never_cold_is_told() -> None:
    """A cold_start is missing, or the rule is."""
    assert warned("warm_pool: {home: {}, burst: {}}\n") == [
        "warm_pool.home: without effect: home has no cold_start, so it is always warm"
    ]


def test_a_warning_names_file_line_and_column_where_the_places_are_given(tmp_path: Path) -> None:
    """As an error does."""
    file = tmp_path / "p.yaml"
    file.write_text(HEAD + "warm_pool:\n  home: {}\n")
    policy, places = load_with_places(file, ENVIRON, kinds=KINDS)
    (warning,) = warnings_of(policy, today=TODAY, places=places)
    assert str(warning).startswith(f"{file}:13:3: warm_pool.home: without effect")


def test_rows_that_may_be_read_on_their_way_to_a_database_are_told() -> None:
    store = 'store: {{shared: "redis://h", ledger: "postgresql://me@{}/db{}"}}\n'
    for near in ("127.0.0.1", "localhost:6000", "[::1]"):
        assert warned(store.format(near, "")) == []
    assert warned(store.format("db.example", "?sslmode=verify-full")) == []
    [said] = warned(store.format("127.0.0.1,db.example", ""))
    assert said.startswith("store.ledger: what passes to db.example may be read on the way")


def test_a_shared_ledger_beside_counters_that_are_not_shared_is_told() -> None:
    [said] = warned('store: {ledger: "postgresql://me@127.0.0.1/db"}\n')
    assert said.startswith("store.ledger: memory:// of store.shared is each gateway's own")


OPENAI = """\
version: 1
backends:
  a: {kind: openai, base_url: "http://127.0.0.1:9", timeout: 5s, first_token: 30s}
  b: {kind: openai, base_url: "http://127.0.0.1:9"}
models: {m: {task: chat, backends: [a, b]}}
routes: [{name: r, use: [a, b], first_token: 20s}]
"""


def test_a_timeout_that_ends_a_call_before_its_first_token_is_late_is_told() -> None:
    policy = read_policy_text(OPENAI, {})
    said = {p.path: p.message for p in warnings_of(policy, today=TODAY)}
    assert set(said) == {"backends.a.first_token", "routes[0].first_token"}
    assert "the timeout of a, 5 s, ends a call before 20 s" in said["routes[0].first_token"]


# --- a shared store that may be lost ----------------------------------------------------------


def test_scopes_that_nobody_holds_back_are_warned_of() -> None:
    store = 'store: {shared: "redis://h", when_lost: {key: open, user: share}}\n'
    [warning] = warned(store)
    assert warning.startswith("store.when_lost: while the shared store is lost, limits of key hold")
    [warning] = warned('store: {shared: "redis://h", when_lost: open}\n')
    assert "limits of rest hold nobody back, those of money neither" in warning


def test_an_answer_that_nobody_asks_for_is_warned_of() -> None:
    assert warned("store: {when_lost: share}\n") == [
        "store.when_lost: without effect: memory:// is never lost"
    ]


def test_a_wait_for_a_lost_store_that_callers_notice_is_warned_of() -> None:
    assert warned('store: {shared: "redis://h", when_lost: share}\n') == []
    [warning] = warned('store: {shared: "redis://h", when_lost: share, timeout: 250ms}\n')
    assert warning.startswith("store.timeout: calls that go on without the shared store wait 0.25")
