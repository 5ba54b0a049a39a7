"""Workers that run already: what a policy may say of them, and what is up to who starts them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.problems import PolicyError

POLICY = """version: 1
backends:
  home:
    kind: local
    %s
models:
  a: {task: infer, backends: [home]}
"""


def settings(*lines: str) -> Any:
    text = POLICY % "\n    ".join(lines)
    return read_policy_text(text, {}).backends["home"].settings


def said(*lines: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        read_policy_text(POLICY % "\n    ".join(lines), {}, "p.yaml")
    return [one.removeprefix("p.yaml:") for one in str(caught.value).splitlines()]


def test_a_folder_is_said_in_the_place_of_an_app() -> None:
    found = settings("sockets: /run/spillgate/a", "handler: /score", "wait_for_start: 20s")
    assert (found.app, found.sockets) == (None, "/run/spillgate/a")
    assert (found.handler, found.wait_for_start) == ("/score", 20.0)


def test_what_every_backend_may_say_is_said_of_them_too() -> None:
    assert settings("sockets: s", "concurrency: 4", "max_request: 1MB").sockets == "s"


def test_neither_an_app_nor_a_folder_is_too_little() -> None:
    (line,) = said("handler: /")
    assert line.startswith("4:5: backends.home.app: is required; or sockets, the folder of worke")


def test_an_app_and_a_folder_are_too_much() -> None:
    (line,) = said("app: a.py:app", "sockets: s")
    assert line.startswith("6:5: backends.home.sockets: the workers that run already have an app")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("workers: 1", "give --workers to python -m local_runtime"),
        ("workers: {engine: ray}", "give --workers to python -m local_runtime"),
        ("device: auto", "give --device to python -m local_runtime"),
        ("standby: none", "give --standby to python -m local_runtime"),
        ("start_timeout: 5m", "give --start-timeout to python -m local_runtime"),
        ("silence: 60s", "give --silence to python -m local_runtime"),
        ("grace: 5s", "give --grace to python -m local_runtime"),
        ("threads: 2", "give --threads to python -m local_runtime"),
        ("memory: 4GiB", "give --memory to python -m local_runtime"),
        ("max_message: 256MiB", "give --max-message to python -m local_runtime, or say max_requ"),
        ("models: {a: {memory: 1GiB}}", "say it in the app: @app.model(..., memory=...)"),
    ],
)
def test_what_is_up_to_who_starts_the_workers_is_refused_whatever_its_value(
    line: str, words: str
) -> None:
    key = line.partition(":")[0]
    (problem,) = said("sockets: s", line)
    assert problem.startswith(f"6:5: backends.home.{key}: is up to whoever starts the workers")
    assert words in problem


def test_every_such_key_is_named_at_its_own_place() -> None:
    problems = said("grace: 1s", "sockets: s", "workers: 2")
    assert [one.partition(": is up")[0] for one in problems] == [
        "5:5: backends.home.grace",
        "7:5: backends.home.workers",
    ]


def test_beside_an_app_they_are_welcome() -> None:
    assert settings("app: a.py:app", "workers: 2", "grace: 1s").grace == 1.0
