"""A kind from a package of its own: installed by pip, found by its entry point, checked, served."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapters import ENTRY_POINT_GROUP
from examples.adapter_package.tests.shouting import serving
from tests.live import ROOT, SPILLGATE, LiveGateway

PACKAGE = ROOT / "examples" / "adapter_package"
KEY = "shout-key-4711"
POLICY = """
version: 1
backends:
  loud:
    kind: shout
    base_url: http://127.0.0.1:1
    api_key: ${SHOUT_KEY}
models:
  m: {task: infer, backends: [loud]}
"""
PLAIN = """
version: 1
backends:
  b: {kind: openai, base_url: "http://127.0.0.1:1"}
models:
  m: {task: chat, backends: [b]}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as its author has it; a build leaves folders in it."""
    folder = tmp_path_factory.mktemp("shout") / "source"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def site(source: Path) -> Path:
    """The package as pip installs it, with nothing from the network."""
    folder = source.parent / "site"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "install", "-q", *options, "--target", folder, source)
    return folder


def environ(*paths: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **more}


def run(
    *command: str | Path,
    env: dict[str, str] | None = None,
    cwd: Path = ROOT,
    status: int = 0,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def check(
    folder: Path, policy: str, *paths: Path, status: int = 0, options: tuple[str, ...] = ()
) -> str:
    """What ``spillgate check`` prints of a policy, with packages from ``paths``."""
    file = folder / "policy.yaml"
    file.write_text(policy)
    env = environ(*paths, SHOUT_KEY=KEY)
    done = run(SPILLGATE, "check", file, *options, env=env, status=status)
    return done.stdout + done.stderr


# --- written ------------------------------------------------------------------------------------

PORT = {f"adapters.{name}" for name in ("base", "errors", "fake", "http", "settings", "types")}
WRITING = (ROOT / "docs" / "adapters" / "writing.md").read_text()


@pytest.mark.parametrize(
    "source",
    [
        *(path.read_text() for path in PACKAGE.rglob("*.py")),
        *re.findall(r"^```python\n(.*?)^```$", WRITING, re.M | re.S),
    ],
)
def test_a_kind_of_ones_own_needs_the_port_and_the_face_of_the_toolkit(source: str) -> None:
    """``adapters.http`` hands on whatever of it is public, so its rooms may be moved."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    ours = {str(node.module) for node in imports if str(node.module).startswith("adapters")}
    assert ours <= PORT | {"adapters"}


def test_the_page_names_no_file_inside_the_toolkit() -> None:
    assert not re.search(r"adapters[./]http[./]\w", WRITING)


# --- checked ------------------------------------------------------------------------------------


def test_check_says_which_package_a_kind_is_from(tmp_path: Path, site: Path) -> None:
    assert "kind shout: from the package spillgate-shout 1.0" in check(tmp_path, POLICY, site)
    told = json.loads(check(tmp_path, POLICY, site, options=("--json",)))
    assert told["packages"] == {"shout": "spillgate-shout 1.0"}


def test_its_settings_are_checked_like_those_of_our_own_kinds(tmp_path: Path, site: Path) -> None:
    wrong = POLICY.replace("base_url", "base_urll").replace("${SHOUT_KEY}", "written-here")
    told = check(tmp_path, wrong, site, status=2)
    assert re.search(r"policy\.yaml:6:5: backends\.loud\.base_urll: .*base_url", told)
    assert re.search(r"policy\.yaml:7:14: backends\.loud\.api_key: ", told)
    assert "written-here" not in told


def test_a_kind_whose_package_is_not_there_is_unknown(tmp_path: Path, site: Path) -> None:
    told = check(tmp_path, POLICY, status=2)
    assert re.search(r"policy\.yaml:5:11: backends\.loud\.kind: no kind 'shout'", told)
    assert "shout" in check(tmp_path, POLICY.replace("shout", "shoot"), site, status=2)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise RuntimeError('boom')", r"fails at its import \(RuntimeError: boom\)"),
        ("", "fails at its import .*AttributeError"),
        ("Shout = 1", "is no class"),
        ("class Shout: pass", "has no Settings"),
        (
            "import msgspec\nclass Shout:\n    class Settings(msgspec.Struct): pass\n",
            "has no start, invoke, probe, aclose",
        ),
    ],
)
def test_a_package_that_cannot_give_its_kind_is_named(
    tmp_path: Path, site: Path, module: str, said: str
) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "spillgate_shout.py").write_text(module + "\n")
    told = check(tmp_path, POLICY, broken, status=2)
    named = r"policy\.yaml:5:11: backends\.loud\.kind: .*cannot be loaded: spillgate-shout 1\.0 "
    assert re.search(named + ".*" + said, told), told
    assert "Traceback" not in told
    # Where no policy names the kind, nobody imports it.
    assert "valid" in check(tmp_path, PLAIN, broken)


def test_a_kind_that_two_packages_offer_is_neithers(tmp_path: Path, site: Path) -> None:
    other = tmp_path / "other" / "spillgate_yell-2.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: spillgate-yell\nVersion: 2.0\n")
    (other / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\nshout = yell:Yell\n")
    told = check(tmp_path, POLICY, site, other.parent, status=2)
    assert "spillgate-shout 1.0 and spillgate-yell 2.0" in told


# --- served -------------------------------------------------------------------------------------


def test_a_live_gateway_serves_calls_by_it(tmp_path: Path, site: Path) -> None:
    with serving(KEY) as (_, url):
        policy = POLICY.replace("version: 1", "").replace("http://127.0.0.1:1", url)
        env = {"PYTHONPATH": str(site), "SHOUT_KEY": KEY}
        with LiveGateway(tmp_path, policy, env=env) as gateway, gateway.client() as client:
            whole = client.post("/v1/infer/m", json={"text": "hello"})
            assert (whole.status_code, whole.json()) == (200, {"said": "HELLO"})
            assert whole.headers["X-Spillgate-Backend"] == "loud"
            headers = {"Accept": "text/event-stream"}
            stream = client.post("/v1/infer/m", json={"text": "a b"}, headers=headers)
            assert stream.text.startswith('data: "A"\n\ndata: "B"\n\n')
            large = client.post("/v1/infer/m", json={"text": "x" * 300_000})
            assert large.status_code == 413
            assert "(loud, shout: at most 262144 bytes)" in large.json()["error"]["message"]


# --- tested by the contract's plugin --------------------------------------------------------------


def suite(source: Path, site: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The package's own tests, in a process of their own."""
    pytest_alone = Path(sys.executable).with_name("pytest")  # as a module it would see cwd
    command = [str(pytest_alone), "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        command,
        cwd=source,
        env=environ(site, ROOT),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_package_passes_the_contract_by_the_plugin(source: Path, site: Path) -> None:
    done = suite(source, site)
    assert done.returncode == 0, done.stdout
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) >= 18


@pytest.mark.parametrize(
    ("right", "wrong", "broken"),
    [
        (
            'raise BackendError(FailureClass.TRUNCATED, "The stream ended before its last word.")',
            'self._finish(b"", Usage(exec_s=0.0)); return',
            "cut",
        ),
        ("secrets=(key,)", "secrets=()", "wrong and key"),
        ("check_size(call.body, LIMIT)", "", "stated_limit"),
        (
            "    Settings = ShoutSettings\n",
            "    Settings = ShoutSettings\n    async def aclose(self): pass\n",
            "closed_holds_no_socket",
        ),
    ],
    ids=["a cut is an end", "a key is shown", "a limit is not kept", "closing does not close"],
)
def test_the_plugin_finds_what_a_kind_does_not_keep(
    tmp_path: Path, source: Path, site: Path, right: str, wrong: str, broken: str
) -> None:
    mutant = tmp_path / "site"
    shutil.copytree(site, mutant)
    module = mutant / "spillgate_shout.py"
    text = module.read_text()
    assert right in text
    module.write_text(text.replace(right, wrong))
    done = suite(source, mutant, "-k", broken)
    assert done.returncode == 1, done.stdout
    assert "failed" in done.stdout
