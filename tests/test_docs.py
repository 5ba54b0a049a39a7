"""What the documents say is so: their policies load, and their commands run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gateway.policy.reader import read_policy_text
from tests.live import ROOT, LiveGateway, free_port
from tests.snippets import Snippet, run_snippet, snippets_of

README = ROOT / "README.md"
DEFAULT = ROOT / "config" / "default.yaml"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCUMENTS = [README, CONTRIBUTING, *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [snippet for file in DOCUMENTS for snippet in snippets_of(file)]
BIN = Path(sys.executable).parent
ADDRESS = "127.0.0.1:8443"
"""Where a reader's gateway listens, and the address that every document uses."""

needs_readme = pytest.mark.skipif(not README.exists(), reason="there is no README.md yet")


def marked(verb: str, detail: str | None = None) -> list[Snippet]:
    return [one for one in SNIPPETS if one.verb == verb and detail in (None, one.detail)]


class House(msgspec.Struct, frozen=True):
    """Where snippets run: a folder that looks like the repository, with data of its own."""

    folder: Path
    environ: Mapping[str, str]
    replace: Mapping[str, str]


def looks_like_the_repository(folder: Path, data: Path) -> Path:
    folder.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in {".spillgate", ".git"}:
            (folder / entry.name).symlink_to(entry)
    (folder / ".spillgate").symlink_to(data)
    return folder


def clean_environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_proxy")}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


# --- policies -----------------------------------------------------------------------------------


def document_of(snippet: Snippet) -> str:
    """The whole policy that a block stands for."""
    if snippet.detail != "part":
        return snippet.text
    whole: dict[str, Any] = yaml.safe_load(DEFAULT.read_text())
    for section, content in yaml.safe_load(snippet.text).items():
        mapping = isinstance(content, dict) and isinstance(whole.get(section), dict)
        whole[section] = {**whole[section], **content} if mapping else content
    return yaml.safe_dump(whole, sort_keys=False)


@pytest.mark.parametrize("snippet", marked("policy"), ids=str)
def test_a_policy_in_a_document_loads(snippet: Snippet) -> None:
    text = document_of(snippet)
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "a-secret")
    policy = read_policy_text(text, secrets, name=str(snippet))
    assert policy.routes


# --- commands and programs ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def overflow_url() -> Iterator[str]:
    """The spare backend of the default policy, on a port of its own."""
    port = free_port()
    command = [sys.executable, "-m", "examples.overflow", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environ(RUNPOD_API_KEY="docs"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}/v2"
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, overflow_url: str) -> Iterator[House]:
    """The default policy over TLS, as ``make serve`` starts it."""
    base = tmp_path_factory.mktemp("docs")
    policy = yaml.safe_load(DEFAULT.read_text())
    for backend in policy["backends"].values():
        if backend["kind"] == "runpod":
            backend["base_url"] = overflow_url
        if backend["kind"] == "local":
            backend["required"] = True  # a reader takes longer to get here than a model to load
    sections = {key: policy[key] for key in policy.keys() - {"version", "server", "store"}}
    live = LiveGateway(
        base,
        yaml.safe_dump(sections, sort_keys=False),
        tls=True,
        env=clean_environ(RUNPOD_API_KEY="docs"),
        ready_within_s=120,
    )
    with live:
        yield House(
            looks_like_the_repository(base / "house", live.data),
            clean_environ(
                RUNPOD_API_KEY="docs",
                SPILLGATE_KEY=live.user_key,
                SPILLGATE_ADMIN_KEY=live.admin_key,
            ),
            {ADDRESS: f"127.0.0.1:{live.port}", "config/default.yaml": str(live.config)},
        )


@pytest.mark.parametrize("snippet", marked("runs", "gateway"), ids=str)
def test_what_a_document_does_with_a_gateway_works(snippet: Snippet, served: House) -> None:
    run_snippet(snippet, folder=served.folder, environ=served.environ, replace=served.replace)


@pytest.mark.parametrize("snippet", marked("runs", "shell"), ids=str)
def test_what_a_document_runs_in_the_repository_works(snippet: Snippet, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    folder = looks_like_the_repository(tmp_path / "house", tmp_path / "data")
    run_snippet(snippet, folder=folder, environ=clean_environ(RUNPOD_API_KEY="docs"), replace={})


# --- the documents as a whole -------------------------------------------------------------------


@pytest.mark.parametrize("snippet", [one for one in SNIPPETS if one.file == README], ids=str)
def test_every_block_of_the_readme_says_how_it_is_tested(snippet: Snippet) -> None:
    assert snippet.verb, f"{snippet}: no mark; tests/snippets.py lists them"


@pytest.mark.parametrize("snippet", [one for one in SNIPPETS if one.verb], ids=str)
def test_a_mark_is_one_that_is_known(snippet: Snippet) -> None:
    """A misspelt mark would leave a block untested in silence."""
    allowed = {
        "policy": ({"yaml"}, {"", "part"}),
        "runs": ({"bash", "console", "python"}, {"gateway", "shell"}),
    }
    if snippet.verb == "shown":
        assert snippet.detail, f"{snippet}: say what covers it instead"
        return
    languages, details = allowed[snippet.verb]
    assert snippet.language in languages
    assert snippet.detail in details


@needs_readme
def test_ci_runs_the_commands_that_the_readme_gives_for_testing() -> None:
    told = [one for one in snippets_of(README) if one.heading.lower() in {"test", "tests"}]
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in ci if line.startswith("make ")]
    assert told, 'README.md has no block under a heading "Test"'
    assert [
        line.removeprefix("$ ").split("#")[0].strip() for line in told[0].text.splitlines()
    ] == (commands)


@pytest.mark.parametrize(
    "file", [file for file in DOCUMENTS if file.exists()], ids=lambda f: f.name
)
def test_a_link_to_a_file_leads_to_one(file: Path) -> None:
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (file.parent / target).exists(), f"{file.name}: {target} is not there"


@needs_readme
@pytest.mark.parametrize("file", [README, CONTRIBUTING], ids=lambda file: file.name)
def test_every_make_target_in_a_document_is_one_of_the_makefile(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)`", file.read_text()))
    assert named <= targets


PACKAGES = ("gateway", "adapters", "local_runtime", "spillgate_contract")


def test_every_folder_stands_on_the_page_of_the_house() -> None:
    """Its files stand in the folder's own docstring; tests/house sees to that."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert {folder for folder in folders if f"`{folder}`" not in page} == set()


def test_every_storey_of_the_import_contracts_stands_on_the_page_too() -> None:
    """In parentheses stands what a package may have or not; a command's ``__main__`` is a line."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = {
        room
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
        for package in contract["containers"]
        for layer in contract["layers"]
        for room in re.findall(r"\w+", layer)
        if (ROOT / package / room).is_dir() or (ROOT / package / f"{room}.py").is_file()
    } - {"__main__"}
    assert {room for room in rooms if f"`{room}`" not in page} == set()
