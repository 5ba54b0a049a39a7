"""What `spillgate package` prints can be pasted into a policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.reader import read_policy_text
from tests.local_runtime.packaging.packed import packed, written

SECRETS = dict.fromkeys(("RUNPOD_API_KEY", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"), "a-secret")


@pytest.mark.parametrize("platform", ["runpod", "modal", "cog"])
def test_the_lines_for_the_policy_are_ones(
    platform: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = packed(written(tmp_path), platform)
    said = capsys.readouterr().out
    assert str(out) in said.partition("then, in the policy:")[0]
    lines = said.partition("then, in the policy:\n")[2]
    text = "version: 1\n" + "\n".join(line.removeprefix("  ") for line in lines.splitlines())
    policy = read_policy_text(text, SECRETS)
    assert policy.backends["loud-shout"].kind == platform
