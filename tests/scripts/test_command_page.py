"""The reference of the command line is what the commands' own parsers say."""

from __future__ import annotations

import pytest

from gateway.cli import COMMANDS
from scripts.command_page import HEADING, PAGE, reference


def test_the_page_has_the_reference_as_it_would_be_written_today() -> None:
    _, _, written = PAGE.read_text().partition(HEADING)
    assert written == reference(), "python -m scripts.command_page"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_is_without_its_entry(command: str) -> None:
    assert f"\n### `spillgate {command}`\n" in PAGE.read_text()
