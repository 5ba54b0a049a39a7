"""The first call that a newcomer pastes: of a model of the policy, by its task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from adapters.types import Task
from gateway.policy.model import Policy


class _Example(msgspec.Struct, frozen=True):
    """How a model of a task is asked."""

    path: str
    body: dict[str, Any]
    method: str
    """Of the ``openai`` client."""
    shown: str
    """Of its answer."""


_EXAMPLES: dict[Task, _Example] = {
    "embeddings": _Example(
        "/v1/embeddings",
        {"input": "a warm GPU"},
        "embeddings.create",
        "len(answer.data[0].embedding), answer.usage",
    ),
    "chat": _Example(
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 32},
        "chat.completions.create",
        "answer.choices[0].message.content, answer.usage",
    ),
    "completions": _Example(
        "/v1/completions",
        {"prompt": "a warm GPU is", "max_tokens": 32},
        "completions.create",
        "answer.choices[0].text, answer.usage",
    ),
}


def first_call(policy: Policy, base: str, ca: Path | None, key: str | None) -> list[str]:
    """Paragraphs: a line for curl and a snippet for Python, of the first model that the ``openai``
    client can ask; of a policy with models of one's own alone, a line of curl; of none, nothing."""
    for name, spec in policy.models.items():
        if (example := _EXAMPLES.get(spec.task)) is not None:
            curl = _curl(base + example.path, ca, key, {"model": name, **example.body})
            return [f"Ask it with curl:\n{curl}", _snippet(base, ca, key, name, example)]
    own = next((name for name, spec in policy.models.items() if spec.task == "infer"), None)
    if own is None:
        return []
    curl = _curl(f"{base}/v1/infer/{own}", ca, key, {})
    return [f"Ask it with curl, with the model's own input in the place of {{}}:\n{curl}"]


def _curl(url: str, ca: Path | None, key: str | None, body: dict[str, Any]) -> str:
    trust = "" if ca is None else f" --cacert '{ca}'"
    return (
        f'  curl -sS{trust} {url} -H "Authorization: Bearer {key or "$SPILLGATE_KEY"}" '
        f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    )


def _snippet(base: str, ca: Path | None, key: str | None, model: str, example: _Example) -> str:
    shown = 'os.environ["SPILLGATE_KEY"]' if key is None else f'"{key}"'
    given = ", ".join(f"{name}={json.dumps(value)}" for name, value in example.body.items())
    lines = [
        *(["import os"] if key is None or ca is not None else []),
        *([f'os.environ["SSL_CERT_FILE"] = "{ca}"'] if ca is not None else []),
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{base}/v1", api_key={shown})',
        f'answer = client.{example.method}(model="{model}", {given})',
        f"print({example.shown})",
    ]
    title = "Or with the openai client in Python (pip install openai):"
    # Python takes no line that is indented for nothing: what is pasted begins where lines begin.
    return "\n".join([title, "", *lines])
