"""The editors' schema is current, and agrees with the reader."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from gateway.policy.json_schema import rendered, schema_of, settings_of_kinds
from gateway.policy.reader import load_policy, read_policy_text
from gateway.policy.syntax.problems import PolicyError
from tests.gateway.policy.kinds import ENVIRON, KINDS, CloudSettings, EmbedderSettings, HomeSettings
from tests.gateway.policy.test_bad_documents import CASES
from tests.gateway.policy.test_reader import FULL
from tests.snippets import snippets_of

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "config").rglob("*.yaml"))
EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.yaml"))
TEST_KINDS: dict[str, type[msgspec.Struct]] = {
    "home": HomeSettings,
    "cloud": CloudSettings,
    "embedder": EmbedderSettings,
}
VALIDATOR = jsonschema.Draft202012Validator(schema_of(TEST_KINDS))


def data(text: str) -> Any:
    """YAML as an editor reads it: by YAML 1.2 a date is a string and every key is one."""
    return _plain(yaml.safe_load(text))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def test_the_shipped_schema_is_that_of_the_types() -> None:
    """After a change: python -m gateway.policy.json_schema config/spillgate.schema.json"""
    assert (ROOT / "config" / "spillgate.schema.json").read_text() == rendered()


def test_the_schema_is_a_schema() -> None:
    """Of draft 2020-12."""
    jsonschema.Draft202012Validator.check_schema(schema_of(settings_of_kinds()))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_every_shipped_policy_fits_the_schema(file: Path) -> None:
    """So that an editor underlines nothing in it."""
    schema = schema_of(settings_of_kinds())
    jsonschema.Draft202012Validator(schema).validate(data(file.read_text()))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_loads(file: Path) -> None:
    """With the secrets that it names."""
    keys = ("RUNPOD_API_KEY", "VLLM_API_KEY", "OPENAI_API_KEY")
    policy = load_policy(file, dict.fromkeys(keys, "a-secret"))
    assert policy.models


@pytest.mark.parametrize("page", ["README.md", *(f.name for f in (ROOT / "docs").glob("*.md"))])
def test_the_policies_in_the_documents_fit_the_schema(page: str) -> None:
    """Those marked as policies, whole or in part."""
    schema = schema_of(settings_of_kinds())
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    for snippet in snippets_of(path):
        if snippet.verb == "policy":
            document = {"version": 1, **(data(snippet.text) or {})}
            jsonschema.Draft202012Validator(schema).validate(document)


def test_a_full_document_fits() -> None:
    """The reader's own example."""
    VALIDATOR.validate(data(FULL))


BEYOND_A_SCHEMA = (
    "a larger model",
    "a key given twice",
    "a section given twice",
    "a harmless tag",
    "a tag of the gateway",
    "what the kind itself refuses",
    "a number in quotes, for YAML",
    "a bare yes",
    "a date where",
    "an octal",
    "hours",
    "a duration of zero",
    "a limit of nothing",
    "a limit in an unknown zone",
    "a rolling window of a year",
    "limits of a model that",
    "a raise that",
    "a raise of",
    "a raise to",
    "a tag with limits",
    "a price without a rate",
    "a price beyond",
    "a day that",
    "a cold start upside",
    "a model of an unknown backend",
    "a model that lists",
    "a model whose",
    "an unknown price",
    "a route through",
    "two routes",
    "a default route",
    "weighted without",
    "a weight",
    "a warm pool",
    "a variable",
    "a port that no machine",
    "a password that is not set",
    "a secret that is repeated",
    "a backend of an unknown kind",
    "a kind that",
    "a kind whose",
    "a part without its whole",
    "steps of time without",
    "a step of no time",
    "a step finer",
    "a price that ends",
    "prices without a source",
    "prices of which",
    "prices in the wrong order",
    "prices that overlap",
    "prices with a gap",
    "a device that stands twice",
    "tiers in the wrong order",
    "a price that no table has",
    "schedules that",
    "a sign-in that would",
    "a provider that would",
)
"""References, arithmetic, the environment and YAML itself are for ``spillgate check``; a kind
that the schema does not know may be a third party's."""


def _checked() -> list[str]:
    """Without those that are no YAML, or no tree: an editor says so without a schema."""
    names = [name for name in CASES if not name.startswith(BEYOND_A_SCHEMA)]
    return [name for name in names if _is_tree(CASES[name][0])]


def _is_tree(text: str) -> bool:
    try:
        data(text)
    except (yaml.YAMLError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("name", _checked())
def test_what_the_reader_refuses_the_schema_refuses(name: str) -> None:
    """Apart from what a schema cannot say."""
    assert not VALIDATOR.is_valid(data(CASES[name][0]))


def test_a_key_of_another_kind_is_underlined() -> None:
    """The keys of a backend follow its kind."""
    bad = data("version: 1\nbackends: {b: {kind: home, app: a, endpoint: e}}\n")
    good = data("version: 1\nbackends: {b: {kind: home, app: a, max_run: 5m}}\n")
    assert VALIDATOR.is_valid(good)
    assert not VALIDATOR.is_valid(bad)


def test_every_setting_is_described() -> None:
    """An editor shows what a key is for; a kind's own keys are asked for less strictly."""
    schema = schema_of({})
    settings = {
        f"{name}.{key}": value
        for name, definition in schema["$defs"].items()
        for key, value in definition.get("properties", {}).items()
    }
    undescribed = [
        name
        for name, value in settings.items()
        if "description" not in value and not name.startswith("backend.")
    ]
    assert undescribed == []


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nserver: {drain: 5}\n",
        "version: 1\nserver: {drain: 1.5m, max_body: 1000}\n",
        "version: 1\nserver: {tls: off}\n",
        "version: 1\nserver: {tls: 'off'}\n",
        "version: 1\nprices: {p: {per_call: 1, as_of: 2026-11-09}}\n",
        "version: 1\nlimits: {requests: [1/second, 5/day], spend: 0.5 USD / month}\n",
        "version: 1\nbackends: {b: {kind: home, app: a, price: null}}\n",
    ],
)
def test_what_the_reader_takes_the_schema_takes(text: str) -> None:
    """Numbers for durations, lists for single limits, off as false."""
    try:
        read_policy_text(text, ENVIRON, kinds=KINDS)
    except PolicyError as error:
        pytest.fail(str(error))
    VALIDATOR.validate(data(text))
