"""What a first start prints can be pasted as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.banner import FirstKeys, banner
from gateway.policy.reader import read_policy_text
from gateway.tls.files import TlsMaterial

POLICY = read_policy_text(
    """
version: 1
backends: {b: {kind: openai, base_url: "http://127.0.0.1:9"}}
models: {m: {task: embeddings, backends: [b]}}
""",
    {},
)
FILES = TlsMaterial(ca=Path("/data/ca.pem"), cert=Path("/data/c.pem"), key=Path("/data/c.pem"))


@pytest.mark.parametrize("keys", [FirstKeys("sg-a", "sg-u"), None], ids=["first", "later"])
@pytest.mark.parametrize("material", [FILES, None], ids=["tls", "plain"])
def test_the_snippet_is_python_as_it_is_printed(
    material: TlsMaterial | None, keys: FirstKeys | None
) -> None:
    _, _, snippet = banner(POLICY, material, keys).partition("(pip install openai):\n")
    compile(snippet, "pasted", "exec")
    assert snippet.count("client") == 2
    assert ("os." in snippet) == ("import os\n" in snippet)


def test_keys_of_a_first_start_are_shown_once() -> None:
    assert "sg-a" in banner(POLICY, FILES, FirstKeys("sg-a", "sg-u"))
    assert "Keys were shown when they were made" in banner(POLICY, FILES, None)
