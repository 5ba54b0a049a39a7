"""What cannot be served is not called valid, and what is wrong has a place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from adapters.base import Backend
from gateway.app import backend_maker
from gateway.clock import FakeClock
from gateway.policy.model import BackendSpec
from gateway.policy.reader import read_with_places
from gateway.policy.syntax.problems import PolicyError
from gateway.preflight.startable import check_startable
from gateway.store_urls import Address

PORT = 'kind: openai, base_url: "http://127.0.0.1:1"'


def policy_of(folder: Path, backend: str = PORT, server: str = "", store: str = "") -> str:
    """Backend on the fifth line, server on the second, store on the third."""
    return (
        "version: 1\n"
        f'server: {{data: "{folder}/data", tls: "off"{server}}}\n'
        f'store: {{ledger: "sqlite:///{folder}/data/ledger.db"{store}}}\n'
        "models: {m: {task: chat, backends: [b]}}\n"
        f"backends: {{b: {{{backend}}}}}\n"
    )


def faults(
    text: str, environ: Mapping[str, str] | None = None, *, files: bool = True
) -> list[tuple[int, str, str]]:
    """(line, key path, message) of each problem."""
    try:
        policy, places = read_with_places(text, environ or {})
        check_startable(policy, places, backend_maker(FakeClock()), files=files)
    except PolicyError as error:
        return [(p.line if p.column else 0, p.path, p.message) for p in error.problems]
    return []


def test_what_can_be_served_is_valid(tmp_path: Path) -> None:
    """Each of the following differs from it in one thing; nothing is made by the look at it."""
    assert faults(policy_of(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:8000/v1", "begins with http://"),
        ("127.0.0.1:8000", "begins with http://"),
        ("//127.0.0.1:8000", "begins with http://"),
        ("ftp://127.0.0.1", "begins with http://"),
        ("http://127.0.0.1:241010/v1", "port"),
        ("http://127.0.0.1:0/v1", "port"),
        ("http://127.0.0.1:/v1", "port"),
        ("http://127.0.0.1:-1/v1", "port"),
        ("http://127.0.0.1:80a/v1", "port"),
        ("http:///v1", "no host"),
        ("http://", "no host"),
        ("http://[::1/v1", "no host"),
        ("http://my host/v1", "no host"),
        ("http://b\u00fccher.example/v1", "no host"),
        ("http://a..b/v1", "no host"),
        ("http://127.0.0.1/a b", "blanks"),
        ("http://127.0.0.1/\u00e9", "accents"),
        ("http://127.0.0.1/v1\\n", "control character"),
        ("http://127.0.0.1/v1\\t", "control character"),
        ("http://127.0.0.1/v1?key=1", "only scheme, host, port and path"),
        ("http://127.0.0.1/v1#top", "only scheme, host, port and path"),
        ("http://me:hunter2@127.0.0.1/v1", "only scheme, host, port and path"),
    ],
)
def test_a_url_that_nobody_can_ask_is_refused_where_it_stands(
    url: str, says: str, tmp_path: Path
) -> None:
    """The message repeats none of it: it may hold a password."""
    [(line, path, message)] = faults(policy_of(tmp_path, f'kind: openai, base_url: "{url}"'))
    assert (line, path) == (5, "backends.b.base_url")
    assert says in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://h.example:8443/v1/", "http://[::1]:8000/v1", "HTTP://a_b.c/v1/x%20y"],
)
def test_a_url_of_scheme_host_port_and_path_is_taken(url: str, tmp_path: Path) -> None:
    assert faults(policy_of(tmp_path, f'kind: openai, base_url: "{url}"')) == []


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("max_connections: 0", "max_connections"),
        ("max_connections: -1", "max_connections"),
        ("timeout: 0s", "timeout"),
        ("connect_timeout: 0", "connect_timeout"),
        ("stall_timeout: 0s", "stall_timeout"),
        ("max_response: 0", "max_response"),
        ("infer_path: generate", "infer_path"),
        ('infer_path: ""', "infer_path"),
        ('infer_path: "/a b"', "infer_path"),
        ('infer_path: "/a\\r\\nX-Evil: 1"', "infer_path"),
        ('infer_path: "/\u00e9"', "infer_path"),
        ('infer_path: "/a#b"', "infer_path"),
        ('headers: {"X A": "1"}', "headers.X A"),
        ('headers: {"X-A:": "1"}', "headers.X-A:"),
        ('headers: {"": "1"}', "headers."),
        ('headers: {"X-A\\n": "1"}', "headers.X-A\n"),
        ('headers: {"X-\u00c4": "1"}', "headers.X-\u00c4"),
        ('headers: {"Content-Length": "1"}', "headers.Content-Length"),
        ('headers: {"host": "elsewhere"}', "headers.host"),
        ('headers: {X-A: "1\\r\\nX-B: 2"}', "headers.X-A"),
        ('headers: {X-A: "1\\0"}', "headers.X-A"),
        ('headers: {X-A: "\u20ac"}', "headers.X-A"),
        ("ca_file: nowhere.pem", "ca_file"),
        ('ca_file: "."', "ca_file"),
        ('ca_file: "a\\0b"', "ca_file"),
        ("ca_file: pyproject.toml", "ca_file"),
    ],
)
def test_a_setting_that_no_request_can_be_made_with_is_refused_where_it_stands(
    setting: str, path: str, tmp_path: Path
) -> None:
    [(line, key, _)] = faults(policy_of(tmp_path, f"{PORT}, {setting}"))
    assert (line, key) == (5, f"backends.b.{path}")


def test_headers_may_say_what_headers_can_carry(tmp_path: Path) -> None:
    text = policy_of(tmp_path, f'{PORT}, headers: {{X-A: " 1\u00e9 ", x_b!: 2, X-C: ""}}')
    policy, _ = read_with_places(text, {})
    assert policy.backends["b"].settings.headers == {"X-A": "1\u00e9", "x_b!": "2", "X-C": ""}
    assert faults(text) == []


@pytest.mark.parametrize(
    ("backend", "path"),
    [
        ("kind: potassium, base_url: 'http://h', routes: {infer: predict}", "routes.infer"),
        ("kind: potassium, base_url: 'http://h', slots: 0", "slots"),
        ("kind: potassium, base_url: 'http://h', poll_every: 0s", "poll_every"),
        ("kind: cog, base_url: 'h:5000'", "base_url"),
        ("kind: http, base_url: 'http://h', path: predict", "path"),
        ("kind: http, base_url: 'http://h', slots: 0", "slots"),
        (
            "kind: http, base_url: 'http://h', secret_headers: {'X Y': '${KEY}'}",
            "secret_headers.X Y",
        ),
        ("kind: modal, url: 'my--app.modal.run'", "url"),
        ("kind: modal, url: 'http://h', health_path: up", "health_path"),
        ("kind: runpod, endpoint: e, api_key: '${KEY}', balancer_url: 'h'", "balancer_url"),
        ("kind: runpod, endpoint: e, api_key: '${KEY}', ping_path: ping", "ping_path"),
        ("kind: runpod, endpoint: e, api_key: '${KEY}', max_workers: 0", "max_workers"),
        ("kind: baseten, model: abc, api_key: '${KEY}', management_url: 'api'", "management_url"),
        ("kind: replicate, model: a/b, api_key: '${KEY}', max_workers: 0", "max_workers"),
        ("kind: vercel, api_key: '${KEY}', base_url: 'ai-gateway.vercel.sh'", "base_url"),
        ("kind: local, app: 'examples/embeddings.py:app', threads: 0", "threads"),
        ("kind: runpod, endpoint: '', api_key: '${KEY}'", "endpoint"),
        ("kind: runpod, endpoint: 'a/b', api_key: '${KEY}'", "endpoint"),
        ("kind: runpod, endpoint: 'a b', api_key: '${KEY}'", "endpoint"),
        ("kind: runpod, endpoint: '../x', api_key: '${KEY}'", "endpoint"),
        ("kind: runpod, endpoint: '\u00e9', api_key: '${KEY}'", "endpoint"),
        ("kind: runpod, endpoint: 'a?b', api_key: '${KEY}'", "endpoint"),
        ("kind: runpod, endpoint: " + "x" * 64 + ", api_key: '${KEY}'", "endpoint"),
        ("kind: runpod, endpoint: e, api_key: '${KEY}', webhook: '${HOOK}'", "webhook"),
        ("kind: baseten, model: abc, api_key: '${KEY}', webhook: 'https://'", "webhook"),
        ("kind: baseten, model: abc, api_key: '${KEY}', webhook: 'http://h'", "webhook"),
        ("kind: baseten, model: abc, api_key: '${KEY}', webhook: 'https://h:0'", "webhook"),
        ("kind: local, app: 'examples/embeddings.py:app', device: tpu", "device"),
        ("kind: local, app: 'examples/embeddings.py:app', device: 'cuda:0,'", "device"),
        ("kind: local, app: 'examples/embeddings.py:app', device: 'cuda:x'", "device"),
        ("kind: local, app: 'examples/embeddings.py:app', device: ''", "device"),
        ("kind: local, sockets: pyproject.toml", "sockets"),
        ("kind: local, sockets: pyproject.toml/below", "sockets"),
        ('kind: local, sockets: "a\\0b"', "sockets"),
        ("kind: local, sockets: " + "x" * 300, "sockets"),
        ("kind: local, app: 'nofile.py:app'", "app"),
        ("kind: local, app: 'examples:app.py'", "app"),
        ("kind: local, app: 'no_such_module:app'", "app"),
        ("kind: local, app: 'tests.programs.nothing:app'", "app"),
        ("kind: local, app: 'os.path.nothing:app'", "app"),
        ("kind: local, app: ''", "app"),
        ("kind: local, app: 'tests/programs:app'", "app"),
        ('kind: local, app: "a\\0b.py:app"', "app"),
    ],
)
def test_what_each_kind_cannot_start_with_is_refused_where_it_stands(
    backend: str, path: str, tmp_path: Path
) -> None:
    secrets = {"KEY": "k-123456", "HOOK": "https://"}
    [(line, key, _)] = faults(policy_of(tmp_path, backend), secrets)
    assert (line, key) == (5, f"backends.b.{path}")


@pytest.mark.parametrize(
    "app", ["examples/embeddings.py:app", "tests.programs.echo:app", "examples.embeddings"]
)
def test_an_app_is_looked_for_without_running_it(app: str, tmp_path: Path) -> None:
    source, broken = f"kind: local, app: '{app}'", tmp_path / "broken.py"
    assert faults(policy_of(tmp_path, source)) == []
    broken.write_text("raise SystemExit('it was run')\n")
    assert faults(policy_of(tmp_path, f"kind: local, app: '{broken}:app'")) == []


@pytest.mark.parametrize("source", ["def (\n", "x = 'a\n", "\tx\n  y\n", "a\0b"], ids=range(4))
def test_an_app_that_is_no_python_is_refused_by_its_line(source: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(source)
    [(line, path, message)] = faults(policy_of(tmp_path, f"kind: local, app: '{broken}:app'"))
    assert (line, path) == (5, "backends.b.app")
    assert str(broken) in message


def test_a_folder_of_sockets_may_be_made_later(tmp_path: Path) -> None:
    """By the workers, which may start after the gateway."""
    assert faults(policy_of(tmp_path, f"kind: local, sockets: '{tmp_path}/later'")) == []


def test_what_a_kinds_own_code_refuses_has_the_backends_place_and_shows_no_secret(
    tmp_path: Path,
) -> None:
    """The net below all settings: a kind of somebody else may raise anything."""
    secret = "sk-very-secret"

    def raises(spec: BackendSpec) -> Backend:
        raise RuntimeError(f"no: {spec.settings.api_key.reveal()}")

    text = policy_of(tmp_path, f"{PORT}, api_key: '${{KEY}}'")
    policy, places = read_with_places(text, {"KEY": secret})
    with pytest.raises(PolicyError) as caught:
        check_startable(policy, places, raises)
    [problem] = caught.value.problems
    assert (problem.line, problem.path) == (5, "backends.b")
    assert problem.message == "cannot be made: RuntimeError: no: ***"


# --- secrets -------------------------------------------------------------------------------------

KEYED = f"{PORT}, api_key: '${{KEY}}'"


@pytest.mark.parametrize(
    "key", ["sk-abc\n", " sk-abc", "sk-abc\r\n\r\n", "\tsk-abc ", "sk-abc\u00a0"]
)
def test_white_space_around_a_secret_is_no_part_of_it(key: str, tmp_path: Path) -> None:
    policy, _ = read_with_places(policy_of(tmp_path, KEYED), {"KEY": key})
    assert policy.backends["b"].settings.api_key.reveal() == "sk-abc"
    assert faults(policy_of(tmp_path, KEYED), {"KEY": key}) == []


@pytest.mark.parametrize(
    "key", ["", "\n", " \t ", "sk-a\nsk-b", "sk-a\r\nX-Evil: 1", "a\0b", "\u20acuro-1"]
)
def test_a_secret_that_no_header_can_carry_is_told_without_it(key: str, tmp_path: Path) -> None:
    [(line, path, message)] = faults(policy_of(tmp_path, KEYED), {"KEY": key})
    assert (line, path) == (5, "backends.b.api_key")
    assert "KEY" in message
    assert not key.strip() or key.strip() not in message


def test_a_stores_password_is_taken_without_the_white_space_around_it(tmp_path: Path) -> None:
    text = policy_of(tmp_path, store=', shared: "redis://:${KEY}@127.0.0.1:6379/0"')
    policy, _ = read_with_places(text, {"KEY": "pass word\n"})
    assert isinstance(policy.store.shared, Address)
    assert policy.store.shared.password.reveal() == "pass word"


DATABASE = "postgresql://me@127.0.0.1/db"


@pytest.mark.parametrize("place", ["ledger", "keys"])
def test_a_database_without_its_driver_is_refused_with_what_to_install(
    place: str, tmp_path: Path
) -> None:
    stores = {"ledger": f"sqlite:///{tmp_path}/ledger.db"} | {place: DATABASE}
    text = f"version: 1\nserver: {{tls: 'off', data: {tmp_path}}}\nstore: {stores}\n"
    policy, places = read_with_places(text, {})
    make = backend_maker(FakeClock())
    check_startable(policy, places, make, installed=lambda package: True)
    check_startable(policy, places, make, installed=lambda package: False, files=False)
    with pytest.raises(PolicyError) as raised:
        check_startable(policy, places, make, installed=lambda package: False)
    [problem] = raised.value.problems
    assert (problem.line, problem.path) == (3, f"store.{place}")
    assert "pip install 'spillgate[postgres]'" in problem.message


def test_parquet_without_its_package_is_refused_with_what_to_install(tmp_path: Path) -> None:
    keep = f"{{rows: 90d, archive: {tmp_path}/old, format: parquet}}"
    policy, places = read_with_places(policy_of(tmp_path, store=f", keep: {keep}"), {})
    make = backend_maker(FakeClock())
    check_startable(policy, places, make, installed=lambda package: True)
    with pytest.raises(PolicyError) as raised:
        check_startable(policy, places, make, installed=lambda package: package != "pyarrow")
    [problem] = raised.value.problems
    assert (problem.line, problem.path) == (3, "store.keep.format")
    assert "pip install 'spillgate[archive]'" in problem.message


def test_telemetry_without_its_packages_is_refused_with_what_to_install(tmp_path: Path) -> None:
    text = f"version: 1\nserver: {{tls: 'off', data: {tmp_path}, otel: {{endpoint: 'http://a'}}}}\n"
    text += f"store: {{ledger: 'sqlite:///{tmp_path}/ledger.db'}}\n"
    policy, places = read_with_places(text, {})
    make = backend_maker(FakeClock())
    check_startable(policy, places, make, installed=lambda package: True)
    with pytest.raises(PolicyError) as raised:
        check_startable(policy, places, make, installed=lambda package: False)
    [problem] = raised.value.problems
    assert (problem.line, problem.path) == (2, "server.otel")
    assert "pip install 'spillgate[otel]'" in problem.message


def test_an_archive_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("")
    keep = f"{{rows: 90d, archive: {tmp_path}/old}}"
    [(line, path, message)] = faults(policy_of(tmp_path, store=f", keep: {keep}"))
    assert (line, path) == (3, "store.keep.archive")
    assert message == f"{tmp_path}/old is a file, not a folder"


def test_a_cluster_needs_its_driver_and_a_private_authority_its_file(tmp_path: Path) -> None:
    url = f"rediss+cluster://one,two?ca_file={tmp_path}/ca.pem"
    store = f"{{ledger: 'sqlite:///{tmp_path}/ledger.db', shared: '{url}'}}"
    text = f"version: 1\nserver: {{tls: 'off', data: {tmp_path}}}\nstore: {store}\n"
    policy, places = read_with_places(text, {})
    make = backend_maker(FakeClock())
    with pytest.raises(PolicyError) as raised:
        check_startable(policy, places, make, installed=lambda package: False)
    driver, authority = raised.value.problems
    assert "pip install 'spillgate[redis]'" in driver.message
    assert authority.path == "store.shared"
    assert f"{tmp_path}/ca.pem is of no use" in authority.message


# --- this machine --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("max_body: 0", "max_body"),
        ("max_header: 1", "max_header"),
        ("clients: {per_key: 0}", "clients.per_key"),
        ("clients: {in_all: 1}", "clients.in_all"),
    ],
)
def test_a_bound_in_which_no_request_fits_is_refused(
    setting: str, path: str, tmp_path: Path
) -> None:
    [(line, where, _)] = faults(policy_of(tmp_path, server=f", {setting}"))
    assert (line, where) == (2, f"server.{path}")


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("203.0.113.7:8443", "cannot be listened on"),
        ("no-such-host.invalid:8443", "cannot be listened on"),
        ("256.1.1.1:8443", "no address"),
        ("my host:8443", "no address"),
        ("[::1:8443", "no address"),
    ],
)
def test_an_address_that_is_not_this_machines_is_refused(
    listen: str, says: str, tmp_path: Path
) -> None:
    [(line, path, message)] = faults(policy_of(tmp_path, server=f', listen: "{listen}"'))
    assert (line, path) == (2, "server.listen")
    assert says in message


def test_what_is_this_machines_is_not_looked_at_for_another(tmp_path: Path) -> None:
    """``spillgate check --without-secrets``."""
    text = policy_of(
        tmp_path, "kind: local, app: 'nofile.py:app'", server=', listen: "203.0.113.7:1"'
    )
    assert len(faults(text)) == 2
    assert faults(text, files=False) == []


def test_what_is_in_force_already_is_not_looked_at_again(tmp_path: Path) -> None:
    """A reload that adds a plan does not fail for a file that is missing since."""
    text = policy_of(tmp_path, "kind: local, app: 'nofile.py:app'")
    policy, places = read_with_places(text, {})
    make = backend_maker(FakeClock())
    check_startable(policy, places, make, known=policy)
    changed, places = read_with_places(text.replace("nofile", "nowhere"), {})
    with pytest.raises(PolicyError):
        check_startable(changed, places, make, known=policy)
