"""What documents say to type is there: commands, what they may be told to do, and options."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.cli import COMMANDS
from gateway.cli.parsers import CommandHelp, usages

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"spillgate ([a-z][a-z-]*)((?: [^`\n|&;<>()]+)?)")


def known() -> dict[tuple[str, ...], CommandHelp]:
    told = [one for name, each in COMMANDS.items() for one in usages(name, *each)]
    return {one.words: one for one in told}


def typed() -> list[tuple[str, str, str]]:
    """(Where, the command, what follows it), of code in documents."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found = []
    for page in pages:
        for code in re.findall(
            r"^```(?:bash|console)\n(.*?)^```|`([^`\n]+)`", page.read_text(), re.M | re.S
        ):
            for name, rest in COMMAND.findall("".join(code).replace("\\\n", " ")):
                found.append((page.name, name, rest))
    return found


def test_every_command_that_a_document_names_is_one_and_takes_its_options() -> None:
    commands, wrong = known(), []
    assert len(typed()) > 100
    for page, name, rest in typed():
        words = rest.split()
        one = commands.get((name, *words[:1])) or commands.get((name,))
        if one is None:
            wrong.append((page, name, rest))
        elif name != "package" and "--conversations" not in rest:  # which have options of their own
            options = {option for each in one.options for option in each.names}
            given = re.findall(r"(?<=\s)--[a-z][a-z-]*", f" {rest}")
            wrong += [
                (page, name, option) for option in given if option not in options | {"--help"}
            ]
    assert wrong == []
