"""Providers that would be asked in vain are told before any call is."""

from __future__ import annotations

import datetime

import pytest

from gateway.policy.reader import read_policy_text
from gateway.policy.warnings.every import warnings_of

POLICY = """
version: 1
backends:
  claude: {kind: openai, provider: anthropic, model: claude%(more)s}
  home: {kind: openai, base_url: "http://127.0.0.1:9"}
models:
  m: {task: %(task)s, backends: [%(backends)s]}
plans: {default: {}}
"""
KEY = ', api_key: "${KEY}"'
ALONE = "answers /v1/messages alone"


def warned(more: str = KEY, task: str = "chat", backends: str = "claude") -> list[str]:
    text = POLICY % {"more": more, "task": task, "backends": backends}
    policy = read_policy_text(text, {"KEY": "secret-of-mine"})
    found = warnings_of(policy, today=datetime.date(2026, 11, 22))
    return [f"{one.path}: {one.message}" for one in found if "no model lists it" not in one.message]


@pytest.mark.parametrize(
    ("task", "backends", "words"),
    [
        ("chat", "claude", "other calls of the model, such as /v1/chat/completions, are refused"),
        ("embeddings", "claude", "no call of task: embeddings"),
        ("realtime", "claude, home", "no call of task: realtime"),
    ],
)
def test_a_backend_that_has_messages_alone_is_told_of_a_model_that_needs_more(
    task: str, backends: str, words: str
) -> None:
    (said,) = warned(task=task, backends=backends)
    assert said.startswith("models.m.backends: claude: ")
    assert ALONE in said
    assert words in said


def test_a_chat_with_another_backend_is_answered_there() -> None:
    assert warned(backends="claude, home") == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", True),
        (KEY, False),
        (', base_url: "http://127.0.0.1:8"', False),
    ],
    ids=["no key", "a key", "a proxy of one's own"],
)
def test_a_provider_without_a_key_is_told(more: str, told: bool) -> None:
    said = [one for one in warned(more, backends="claude, home") if "api_key" in one]
    why = "backends.claude: anthropic refuses calls without a key: give an api_key"
    assert said == ([why] if told else [])
