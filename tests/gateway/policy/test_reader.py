"""A good document becomes values; files are merged; the version follows the meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.settings import Secret
from gateway.policy.model import Plan, Policy, Route, When
from gateway.policy.reader import load_policy, load_with_places, read_policy_text
from gateway.policy.sections.price import Price
from gateway.policy.sections.server import TlsFiles
from gateway.policy.syntax.problems import PolicyError
from gateway.store_urls import Address
from gateway.types import Limit
from tests.gateway.policy.kinds import ENVIRON, KINDS, CloudSettings

FULL = """\
version: 1
server: {listen: "0.0.0.0:9443", tls: off, max_body: 10 MB, drain: 1m}
store: {shared: "redis://127.0.0.1:6379/0", timeout: 50ms}
backends:
  home: {kind: home, app: "app.py:app", price: own}
  burst:
    kind: cloud
    endpoint: abc123
    api_key: ${CLOUD_KEY}
    price: flex
    cold_start: {p50: 5s, p95: 15s}
    idle_timeout: 5
    max_run: 15m
    ping_input: {text: hi, deep: [1, 2.5, true, null, off]}
models:
  sentence-transformers/minilm: {task: embeddings, backends: [home, burst], slo: 2s}
prices:
  own: {per_hour: 2.69, as_of: 2026-11-09, source: "the invoice"}
  flex: {per_second: 0.00116, bills: [start, run, idle]}
routes:
  - {name: long-tail, when: {requests_per_day: "< 1000"}, use: [burst]}
  - {name: gold, when: {priority: high, tags: {team: search}}, use: [home], max_price: 0.05}
warm_pool:
  burst: {keep: learned, hours: "Mon-Fri 08:00-20:00", ahead: 30m, ping_every: 4m}
plans:
  free: {requests: [60/minute, 1000/day], concurrent: 4, gpu_seconds: 600/day, spend: 5 USD/month}
limits: {spend: 0.5 USD/hour}
"""


def read(text: str) -> Policy:
    return read_policy_text(text, ENVIRON, kinds=KINDS)


def test_a_full_document_becomes_values_in_the_units_of_the_gateway() -> None:
    """Seconds, bytes, nano-dollars and GPU microseconds."""
    policy = read(FULL)
    assert policy.server.listen == ("0.0.0.0", 9443)
    assert (policy.server.max_body, policy.server.drain) == (10_000_000, 60.0)
    assert policy.store.timeout == 0.05
    assert policy.models["sentence-transformers/minilm"].slo == 2.0
    assert policy.prices["own"].at(0) == Price(
        per_hour=2_690_000_000, as_of="2026-11-09", source="the invoice"
    )
    assert policy.prices["flex"].at(0).per_second == 1_160_000
    assert policy.routes[1].max_price == 50_000_000
    assert policy.limits.spend == (Limit("nano_usd", 500_000_000, "hour"),)


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("redis://:${PASSWORD}@h:7000/2", "p@ss/wörd:%${X}"),
        ("redis://me:${PASSWORD}@h:7000/2", "simple"),
        ("redis://h:7000/2", ""),
    ],
)
def test_the_password_of_a_shared_store_is_the_value_of_a_variable_as_it_is(
    url: str, password: str
) -> None:
    """Whatever is in it, and it is no part of the policy's version."""
    text = f'version: 1\nstore: {{shared: "{url}"}}\n'
    policy = read_policy_text(text, {"PASSWORD": password}, kinds=KINDS)
    address = policy.store.shared
    assert isinstance(address, Address)
    assert address.password.reveal() == password
    assert (address.host, address.port, address.database) == ("h", 7000, 2)
    assert not password or password not in repr(policy)
    other = read_policy_text(text, {"PASSWORD": "another"}, kinds=KINDS)
    assert other.version == policy.version


@pytest.mark.parametrize("line", ["", 'store: {shared: "memory://"}'])
def test_the_counters_of_one_process_are_in_its_memory(line: str) -> None:
    assert read(f"version: 1\n{line}\n").store.shared is None


def test_a_plan_holds_its_limits_in_the_order_in_which_they_are_checked() -> None:
    """A list gives several windows; the field says the unit."""
    assert read(FULL).plans["free"] == Plan(
        requests=(Limit("requests", 60, "minute"), Limit("requests", 1000, "day")),
        concurrent=4,
        gpu_seconds=(Limit("gpu_us", 600_000_000, "day"),),
        spend=(Limit("nano_usd", 5_000_000_000, "month"),),
    )


def test_a_backend_is_what_is_common_beside_the_settings_of_its_kind() -> None:
    """Both are written at one level."""
    burst = read(FULL).backends["burst"]
    assert (burst.name, burst.kind, burst.common.price) == ("burst", "cloud", "flex")
    assert (burst.common.idle_timeout, burst.common.max_run) == (5.0, 900.0)
    assert isinstance(burst.settings, CloudSettings)
    assert burst.settings.endpoint == "abc123"
    assert burst.settings.ping_input == {"text": "hi", "deep": [1, 2.5, True, None, False]}


def test_a_secret_comes_from_the_environment_and_never_shows() -> None:
    """Not in the repr of the policy either."""
    policy = read(FULL)
    assert policy.backends["burst"].settings.api_key == Secret("rpa_the-very-secret")
    assert "very-secret" not in repr(policy)


@pytest.mark.parametrize("word", ["off", "false", "'off'", "OFF", "no"])
def test_tls_is_switched_off_however_yaml_reads_the_word(word: str) -> None:
    """YAML 1.1 takes a bare off for false."""
    assert read(f"version: 1\nserver: {{tls: {word}}}\n").server.tls == "off"


def test_tls_takes_files() -> None:
    """A mapping where else a word stands."""
    policy = read("version: 1\nserver: {tls: {cert: a.pem, key: b.pem}}\n")
    assert policy.server.tls == TlsFiles(cert="a.pem", key="b.pem")


def test_names_that_yaml_takes_for_something_else_are_names() -> None:
    """A backend may be called on, a model 4."""
    text = """\
version: 1
backends: {on: {kind: home, app: a}}
models: {4: {task: chat, backends: [on]}}
routes: [{name: no, use: [on]}]
"""
    policy = read(text)
    assert policy.models["4"].backends == ("on",)
    assert policy.routes[0].name == "no"


def test_a_route_that_always_matches_is_added_where_the_last_has_conditions() -> None:
    """It uses every backend, so each model its own."""
    assert read(FULL).routes[-1] == Route(name="default", use=("home", "burst"))
    assert read("version: 1\n").routes == (Route(name="default", use=()),)


def test_no_route_is_added_after_one_without_conditions() -> None:
    """Whatever it is called."""
    text = """\
version: 1
backends: {b: {kind: home, app: a}}
routes:
  - {name: streams, when: {stream: true, model: [m, n]}, use: [b]}
  - {name: rest, use: [b]}
"""
    streams, rest = read(text).routes
    assert streams.when == When(stream=True, model=("m", "n"))
    assert rest.name == "rest"


def test_anchors_and_merge_keys_are_taken() -> None:
    """What a mapping says itself wins over what it merges."""
    text = """\
version: 1
backends:
  one: &base {kind: home, app: a.py:app, max_run: 1m, workers: 3}
  two: {<<: *base, max_run: 2m}
  three: {<<: [{kind: home, app: x}, *base]}
"""
    backends = read(text).backends
    assert [backends[n].common.max_run for n in ("one", "two", "three")] == [60, 120, 60]
    assert [backends[n].settings.app for n in ("two", "three")] == ["a.py:app", "x"]
    assert [backends[n].settings.workers for n in ("two", "three")] == [3, 3]


def test_the_version_follows_what_the_document_means_not_how_it_is_written() -> None:
    """Comments, order, units, quotes and spelt-out defaults change nothing."""
    rewritten = """\
# the same
limits:
  spend: [0.50 USD/hour]
plans: {free: {priority: normal, spend: 5 USD/month, gpu_seconds: 600/day, concurrent: 4,
  requests: [60/minute, 1000/day]}}
"""
    head = FULL[: FULL.index("plans:")].replace("drain: 1m", "drain: 60s")
    same = read(head + rewritten)
    assert same.version == read(FULL).version
    assert len(same.version) == 12
    assert int(same.version, 16) >= 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("drain: 1m", "drain: 2m"),
        ("endpoint: abc123", "endpoint: abc124"),
        ("use: [home]", "use: [burst]"),
        ("[home, burst]", "[burst, home]"),
        ("Mon-Fri", "Mon-Sat"),
    ],
)
def test_the_version_changes_with_every_change_of_meaning(old: str, new: str) -> None:
    """The order in which a model prefers its backends is one."""
    assert old in FULL
    assert read(FULL.replace(old, new, 1)).version != read(FULL).version


def test_the_version_does_not_depend_on_secrets() -> None:
    """Two regions with their own keys run the same policy."""
    other = read_policy_text(FULL, {"CLOUD_KEY": "another"}, kinds=KINDS)
    assert other.version == read(FULL).version
    assert other != read(FULL)


@pytest.mark.parametrize("place", ["/srv/files", "s3://ID:SECRET@bucket?endpoint=https://s3.test"])
def test_where_files_lie_is_part_of_the_version(place: str) -> None:
    text = 'version: 1\nstore: {{files: "{}"}}\n'
    environ = {"SECRET": "x"}
    one = read_policy_text(text.format(place.replace("SECRET", "${SECRET}")), environ, kinds=KINDS)
    assert one.version != read_policy_text("version: 1\n", {}, kinds=KINDS).version


# --- files and folders ---------------------------------------------------------------------------


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def refused(path: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_policy(path, ENVIRON, kinds=KINDS)
    return [line.replace(str(path), "DIR") for line in str(caught.value).splitlines()]


def test_a_folder_is_merged_section_by_section(tmp_path: Path) -> None:
    """The policy is the one that a single file with all of it would give."""
    at = FULL.index("prices:")
    write(tmp_path, a=FULL[:at], b="version: 1\n" + FULL[at:])
    (tmp_path / "c.yml").write_text("models: {m: {task: chat, backends: [home]}}\n")
    (tmp_path / ".#b.yaml").write_text("an editor's lock")
    (tmp_path / "notes.txt").write_text("not YAML: at: all")
    policy = load_policy(tmp_path, ENVIRON, kinds=KINDS)
    assert set(policy.models) == {"sentence-transformers/minilm", "m"}
    (tmp_path / "c.yml").unlink()
    assert load_policy(tmp_path, ENVIRON, kinds=KINDS).version == read(FULL).version


def test_a_key_in_two_files_is_refused_and_both_places_are_named(tmp_path: Path) -> None:
    """A name of a section, a setting of a section, the list of routes."""
    write(
        tmp_path,
        a="version: 1\nplans: {p: {}}\nserver: {drain: 1s}\nroutes: []\n",
        b="version: 1\nplans:\n  p: {}\nserver: {drain: 1s}\nroutes: []\n",
    )
    assert refused(tmp_path) == [
        "DIR/b.yaml:3:3: plans.p: given twice; first at DIR/a.yaml:2:9",
        "DIR/b.yaml:4:10: server.drain: given twice; first at DIR/a.yaml:3:10",
        "DIR/b.yaml:5:1: routes: given twice; first at DIR/a.yaml:4:1",
    ]


def test_the_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """Of files that are not YAML, every one."""
    write(tmp_path, a="version: 1\nx: [\n", b="- 1\n", c="version: 1\n")
    assert [line.partition(" ")[0] for line in refused(tmp_path)] == [
        "DIR/a.yaml:3:1:",
        "DIR/b.yaml:1:1:",
    ]


def test_versions_that_differ_between_files_are_refused(tmp_path: Path) -> None:
    """The same one may stand in each."""
    write(tmp_path, a="version: 1\n", b="version: 2\n")
    assert refused(tmp_path) == ["DIR/b.yaml:1:1: version: given twice; first at DIR/a.yaml:1:1"]


def test_what_is_no_policy_file_is_refused_by_name(tmp_path: Path) -> None:
    """Missing, empty folder, a device, larger than a megabyte."""
    assert refused(tmp_path) == ["DIR: a folder without a .yaml file"]
    assert refused(tmp_path / "none.yaml") == ["DIR: cannot be read: No such file or directory"]
    assert refused(Path("/dev/zero")) == ["DIR: is not a regular file"]
    assert refused(Path("a\0b")) == ["a\\x00b: cannot be read: no such path"]
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (1024 * 1024 + 1))
    assert refused(large) == ["DIR: larger than 1048576 bytes"]


def test_a_file_that_is_not_utf_8_is_refused_at_the_byte(tmp_path: Path) -> None:
    """Latin-1, most often."""
    file = tmp_path / "latin.yaml"
    file.write_bytes("version: 1\n# caf\u00e9\n".encode("latin-1"))
    assert refused(file) == ["DIR:2:6: not UTF-8 text"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """Some editors leave one."""
    file = tmp_path / "marked.yaml"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert load_policy(file, {}).version == read("version: 1\n").version


def test_each_key_path_is_given_with_its_place(tmp_path: Path) -> None:
    """For what is told later about a valid policy."""
    write(tmp_path, a=FULL)
    _, places = load_with_places(tmp_path / "a.yaml", ENVIRON, kinds=KINDS)
    mark = places["routes[1].when.priority"]
    assert (mark.line, mark.column) == (22, 25)
    assert places["models.sentence-transformers/minilm"].line == 16


@pytest.mark.parametrize("kind", ["vllm", "sglang", "tgi", "llama.cpp", "Ollama", "litellm"])
def test_a_server_that_speaks_openais_protocol_is_no_kind_of_its_own(kind: str) -> None:
    with pytest.raises(PolicyError, match="so write openai"):
        read_policy_text(
            f"version: 1\nbackends: {{a: {{kind: {kind}, base_url: 'http://h'}}}}\n", {}
        )


def test_a_percentage_is_written_as_a_number() -> None:
    text = "version: 1\nroutes: [{name: r, use: [], retries: {budget: 20%}}]\n"
    with pytest.raises(PolicyError, match="expected a number; found 20%: write 20"):
        read_policy_text(text, {})


@pytest.mark.parametrize(
    ("written", "named", "rest", "timeout_s"),
    [
        ("", {}, "closed", 0.25),
        ("when_lost: closed", {}, "closed", 0.25),
        ("when_lost: share", {}, "share", 0.25),
        ("shared: 'redis://h', when_lost: share", {}, "share", 0.02),
        ("shared: 'redis://h', when_lost: {key: open}", {"key": "open"}, "closed", 0.02),
        ("when_lost: {user: share, rest: open}, timeout: 5ms", {"user": "share"}, "open", 0.005),
    ],
)
def test_what_becomes_of_calls_while_the_shared_store_is_lost(
    written: str, named: dict[str, str], rest: str, timeout_s: float
) -> None:
    """By scope; calls that go on without it wait for it for less."""
    policy = read_policy_text(f"version: 1\nstore: {{{written}}}\n", {}, kinds=KINDS)
    assert policy.store.answers.named == named
    assert policy.store.answers.rest == rest
    assert policy.store.timeout_s == timeout_s
