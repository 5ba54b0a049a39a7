"""A first policy, by flags or by questions on a terminal, is valid as it is written."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.shared import AnySecret
from gateway.cli.upkeep.templates import TEMPLATES
from gateway.policy.reader import load_policy
from tests.gateway.cli.shells import Shell

SPILLGATE = Path(sys.executable).with_name("spillgate")
ANSWERS = {
    "local": ["--app", "models/mine.py:app"],
    "vllm-runpod": ["--endpoint", "abc123", "--gpu", "a100-80gb"],
    "modal": ["--app", "captions", "--function", "caption"],
    "replicate": ["--deployment", "acme/pictures"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_written_is_valid_and_bounded(template: str, shell: Shell, here: Path) -> None:
    told = shell.json("init", "--template", template, *ANSWERS[template], "--json")
    policy = load_policy(here / "spillgate.yaml", AnySecret({}))
    assert told["written"][0] == "spillgate.yaml"
    assert all(spec.common.price for spec in policy.backends.values())
    assert policy.document.count("USD/month") == 2
    assert set(told["unset"]) <= set(TEMPLATES[template].secrets)
    assert shell("check", "--without-secrets").startswith("valid: ")


def test_an_app_that_is_missing_is_written_and_one_that_is_there_is_left(
    shell: Shell, here: Path
) -> None:
    first = shell.json("init", "--template", "local", "--json")
    assert first["written"] == ["spillgate.yaml", "model.py"]
    compile((here / "model.py").read_text(), "model.py", "exec")
    (here / "model.py").write_text("mine")
    again = shell.json("init", "--template", "local", "--force", "--json")
    assert again["written"] == ["spillgate.yaml"]
    assert (here / "model.py").read_text() == "mine"


def test_a_policy_that_is_there_is_not_overwritten(shell: Shell, here: Path) -> None:
    (here / "spillgate.yaml").write_text("mine")
    shell("init", "--template", "local", status=2)
    assert "--force" in shell.error
    assert (here / "spillgate.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--template", "vllm-runpod"], "--endpoint"),
        (["--template", "replicate", "--deployment", "acme/p", "--gpu", "abacus"], "abacus"),
        (["--template", "local", "--spend", "0"], "above 0"),
        (["--template", "local", "--listen", "everywhere"], "server.listen"),
        (["--template", "vllm-runpod", "--endpoint", "a: {b"], "endpoint"),
    ],
    ids=["not answered", "no such price", "no amount", "no address", "no yaml"],
)
def test_a_bad_answer_is_told_and_nothing_is_written(
    arguments: list[str], says: str, shell: Shell, here: Path
) -> None:
    shell("init", *arguments, status=2)
    assert says in shell.error
    assert not (here / "spillgate.yaml").exists()


@pytest.mark.parametrize("odd", ["a b", "yes", "12", "it's", 'a"b', "#x", "x:", "- y", "*z", "ü"])
def test_a_name_is_the_text_that_was_given(odd: str, shell: Shell, here: Path) -> None:
    """Whatever YAML would take it for."""
    shell("init", "--template", "modal", "--app", odd, "--function", "f")
    policy = load_policy(here / "spillgate.yaml", AnySecret({}))
    assert vars_of(policy.backends["burst"].settings)["app"] == odd


def vars_of(settings: object) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}  # type: ignore[attr-defined]


def test_on_a_terminal_it_asks(here: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [SPILLGATE, "init", "--json"],
        cwd=here,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    os.write(ours, b"replicate\nfaces\nacme/faces\n\n")
    told, _ = process.communicate(timeout=60)
    asked = os.read(ours, 65536).decode()
    os.close(ours)
    assert process.returncode == 0, asked
    assert json.loads(told)["written"] == ["spillgate.yaml"]
    assert "owner/name" in asked
    policy = load_policy(here / "spillgate.yaml", AnySecret({}))
    assert list(policy.models) == ["faces"]


def test_the_help_says_what_each_template_means_by_an_option(shell: Shell) -> None:
    told = " ".join(shell("init", "--help").split())
    for template, policy in TEMPLATES.items():
        for one in policy.questions:
            assert one.text in told, (template, one.name)
