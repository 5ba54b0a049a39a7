"""A secret comes from a variable, or from a file that a variable names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.environment import Environment
from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.problems import PolicyError

POLICY = """
version: 1
backends: {b: {kind: openai, base_url: "http://127.0.0.1:1", api_key: "${KEY}"}}
models: {m: {task: chat, backends: [b]}}
"""


def key_of(variables: dict[str, str]) -> str:
    settings = read_policy_text(POLICY, Environment(variables)).backends["b"].settings
    found: str = settings.api_key.reveal()
    return found


def test_a_file_that_a_variable_names_holds_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-one\n")
    environ = Environment({"KEY_FILE": str(file)})
    assert key_of({"KEY_FILE": str(file)}) == "sk-one"
    assert environ["KEY"] == "sk-one\n"
    assert environ.files == {"KEY": str(file)}
    file.write_text("sk-two\n")
    assert environ["KEY"] == "sk-two\n"


def test_the_variable_itself_comes_first(tmp_path: Path) -> None:
    assert key_of({"KEY": "sk-one", "KEY_FILE": str(tmp_path / "nowhere")}) == "sk-one"


def test_a_file_that_cannot_be_read_is_a_problem_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "nowhere"
    with pytest.raises(PolicyError) as caught:
        key_of({"KEY_FILE": str(file)})
    [problem] = caught.value.problems
    assert problem.path == "backends.b.api_key"
    assert (
        problem.message
        == f"{file}, which KEY_FILE names, cannot be read: No such file or directory"
    )


def test_neither_of_them_is_a_secret_that_is_not_set() -> None:
    with pytest.raises(PolicyError, match="KEY is not set"):
        key_of({"OTHER": "x"})


def test_a_policy_names_the_file_itself(tmp_path: Path) -> None:
    """As containers are given secrets."""
    file = tmp_path / "key"
    file.write_text("sk-one\n")
    named = POLICY.replace("${KEY}", f"${{file:{file}}}")
    environ = Environment({})
    settings = read_policy_text(named, environ).backends["b"].settings
    assert settings.api_key.reveal() == "sk-one"
    assert environ.files == {f"file:{file}": str(file)}
    file.unlink()
    with pytest.raises(PolicyError, match=r"/key cannot be read: No such file"):
        read_policy_text(named, Environment({}))
    file.write_text("  ")
    with pytest.raises(PolicyError, match="is empty"):
        read_policy_text(named, Environment({}))


def huge(file: Path) -> None:
    file.touch()
    os.truncate(file, 2**40)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "it is no regular file"),
    "a device": (lambda file: file.symlink_to("/dev/zero"), "it is no regular file"),
    "huge": (huge, "it is larger than 1 MiB"),
    "a folder": (lambda file: file.mkdir(), "Is a directory"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("named", ["KEY_FILE", "file"])
def test_what_is_no_file_of_a_secret_holds_up_no_reading_and_is_named_in_its_place(
    spoilt: str, named: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    make, why = SPOILT[spoilt]
    make(file)
    variables = {"KEY_FILE": str(file)} if named == "KEY_FILE" else {}
    text = POLICY if variables else POLICY.replace("${KEY}", f"${{file:{file}}}")
    with pytest.raises(PolicyError) as caught:
        read_policy_text(text, Environment(variables))
    [problem] = caught.value.problems
    assert (problem.path, problem.line) == ("backends.b.api_key", 3)
    assert problem.message.endswith(f"cannot be read: {why}")
