"""Whatever stands in a file, the reader gives a policy or says what is wrong."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.settings import parse_duration, parse_size
from gateway.policy.reader import read_policy_text
from gateway.policy.sections.limits import parse_limit
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.syntax.scalars import (
    parse_condition,
    parse_date,
    parse_hours,
    parse_listen,
    parse_name,
    parse_nano_usd,
)
from tests.gateway.policy.kinds import ENVIRON, KINDS
from tests.gateway.policy.test_reader import FULL

SECTIONS = "version server store backends models prices routes warm_pool plans limits"
KEYS = "kind home cloud app endpoint api_key price cold_start p50 p95 task use when order weights"
MORE_KEYS = "hours keep requests spend tls listen body requests_per_day ahead bills as_of per_call"
TRAPS = "${CLOUD_KEY} ${X 1 0x1F 1e999 -.inf .nan ~ off 2026-02-30 1:30:00 << [::1]:1 a:99999 5s"
WORDS = st.sampled_from(
    [
        *SECTIONS.split(),
        *KEYS.split(),
        *MORE_KEYS.split(),
        *TRAPS.split(),
        *["60/minute", "5 USD/month", "9" * 400 + "/minute", "< 1000", "08:00-20:00 ../x"],
        *["08:00-24:00 Europe", "99:99-00:00", "\u0663", "1e-99999999999", "\u00b2s"],
    ]
)
SCALARS = st.one_of(WORDS, st.text(max_size=12), st.integers(), st.floats(), st.none())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, SCALARS), inner, max_size=5)
    ),
    max_leaves=25,
)
PIECES = st.sampled_from([*"{}[]:,-&*!|>'\"%@`?#\n\t ", "\n  ", ": ", "- ", "&a ", "*a", "---\n"])


PARSERS: tuple[Callable[[str], object], ...] = (
    parse_condition,
    parse_date,
    parse_duration,
    parse_hours,
    parse_listen,
    parse_name,
    parse_nano_usd,
    parse_size,
    lambda text: parse_limit(text, "requests"),
    lambda text: parse_limit(text, "nano_usd"),
)


def outcome(text: str) -> str:
    """The policy or the problems, as text; any other exception is the test's failure."""
    try:
        policy = read_policy_text(text, ENVIRON, kinds=KINDS)
    except PolicyError as error:
        return told(error)
    return repr(policy)


def told(error: PolicyError) -> str:
    assert error.problems
    assert len(str(error).splitlines()) == len(error.problems)
    return str(error)


def flow(tree: object) -> str:
    """A tree in YAML's flow style, its words bare: as traps would have it."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"? {flow(k)} : {flow(v)}" for k, v in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(flow, tree)) + "]"
    return "~" if tree is None else str(tree)


@settings(deadline=2000, max_examples=150)
@given(TREES)
def test_any_tree_of_likely_words_is_read_or_refused(tree: object) -> None:
    """Beneath a version, so that most of it is looked at; no secret is shown."""
    body = tree if isinstance(tree, dict) else {"backends": tree}
    text = "version: 1\n" + "".join(f"? {flow(k)}\n: {flow(v)}\n" for k, v in body.items())
    assert "very-secret" not in outcome(text)


@settings(deadline=2000, max_examples=150)
@given(st.lists(st.one_of(PIECES, WORDS, st.text(max_size=5)), max_size=40))
def test_any_text_at_all_is_read_or_refused(pieces: list[str]) -> None:
    """Half-open brackets, tabs, stray anchors, half surrogates."""
    outcome("".join(pieces))


@settings(deadline=2000, max_examples=150)
@given(st.data())
def test_a_good_policy_with_a_piece_knocked_out_is_read_or_refused(data: st.DataObject) -> None:
    """A slip of the editor in an otherwise good file."""
    start = data.draw(st.integers(0, len(FULL)))
    length = data.draw(st.integers(0, 30))
    patch = data.draw(st.one_of(WORDS, st.text(max_size=8)))
    text = FULL[:start] + patch + FULL[start + length :]
    assert "very-secret" not in outcome(text)


@settings(deadline=2000, max_examples=100)
@given(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789_-", min_size=20, max_size=40),
    st.sampled_from(["api_key", "price", "endpoint", "kind", "wait", "max_run", "cold_start"]),
)
def test_a_secret_that_was_written_out_is_not_shown_wherever_else_it_stands(
    secret: str, key: str
) -> None:
    """It may have been pasted twice."""
    text = f"""\
version: 1
backends:
  b: {{kind: cloud, endpoint: 5, api_key: "{secret}"}}
  c: {{kind: cloud, {key}: "{secret}"}}
"""
    assert secret not in outcome(text)


LIKELY = st.text(alphabet="0123456789.:/-+<>=eE _UTCMonFrisdhkKMGiB\u0663\u00b2", max_size=40)


@settings(deadline=2000, max_examples=300)
@given(st.one_of(LIKELY, WORDS, st.text()))
def test_every_scalar_takes_a_text_or_says_why_not(text: str) -> None:
    """A number too large for a machine word is an error of value too, not of arithmetic."""
    for parse in PARSERS:
        try:
            parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - most texts are refused, some are not
