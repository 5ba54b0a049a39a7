"""The unit of systemd, by systemd itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "spillgate.service"


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """With this environment's command in the place of the one that will be installed."""
    here = Path(sys.executable).with_name("spillgate")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/spillgate/bin/spillgate", str(here)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    assert (done.returncode, re.sub(r".*User= is not.*", "", done.stderr).strip()) == (0, "")


def test_the_unit_names_each_secret_as_a_credential() -> None:
    text = UNIT.read_text()
    credentials = re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE)
    assert credentials
    assert re.findall(r"^Environment=(\w+)_FILE=%d/\1$", text, re.MULTILINE) == credentials
