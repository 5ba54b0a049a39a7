"""Commands run in this process, over a policy whose backends nobody asks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.cli import main

POLICY = """
version: 1
server: {{listen: "127.0.0.1:1", tls: "off", data: {folder}}}
store: {{ledger: "sqlite:///{folder}/ledger.db"}}
backends:
  home: {{kind: local, app: "examples/embeddings.py:app"}}
  burst: {{kind: openai, base_url: "http://127.0.0.1:2", api_key: "${{NOT_SET_ANYWHERE}}"}}
models:
  m: {{task: chat, backends: [home, burst]}}
plans:
  default: {{requests: 60/minute}}
  gold: {{}}
"""


class Shell:
    """Runs a command in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.error = ""

    def __call__(self, *arguments: str, status: int = 0) -> str:
        try:
            found: object = main(arguments)
        except SystemExit as end:
            found = end.code
        printed = self._capfd.readouterr()
        self.error = printed.err
        assert found == status, printed.err
        return printed.out

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self(*arguments, status=status))
