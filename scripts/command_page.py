"""Writes the reference of docs/cli.md anew, from the commands' own parsers.

.venv/bin/python -m scripts.command_page
"""

from __future__ import annotations

from pathlib import Path

from gateway.cli import COMMANDS
from gateway.cli.parsers import CommandHelp, CommandOption, usages

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEADING = "## Reference\n"


def main() -> None:
    """What stands before the heading is written by people, and stays."""
    before, heading, _ = PAGE.read_text().partition(HEADING)
    PAGE.write_text(before + heading + reference())


def reference() -> str:
    """Each command and what it may be told to do, with an example and its options."""
    told = [one for name, each in COMMANDS.items() for one in usages(name, *each)]
    return "".join(map(_section, told))


def _section(one: CommandHelp) -> str:
    parts = [f"{'#' * (2 + len(one.words))} `spillgate {' '.join(one.words)}`"]
    parts.append(_sentence(one.about))
    if one.actions:
        parts.append("Then one of " + ", ".join(f"`{name}`" for name in one.actions) + ".")
    elif one.example:
        parts.append(f"{_MARK}\n```bash\n{one.example}\n```")
    common = [option for option in one.options if _is_common(option)]
    if common:
        parts.append(f"Takes {' and '.join(f'`{option.names[-1]}`' for option in common)}.")
    rows = [_row(option) for option in one.options if not _is_common(option)]
    if rows:
        parts.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n" + "\n\n".join(parts) + "\n"


_MARK = "<!-- shown: the commands' own tests run what it does -->"


def _is_common(option: CommandOption) -> bool:
    """Those that the page tells once, for all commands."""
    return option.help == "print JSON" or option.help.startswith("the policy: a YAML file")


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!")) else ".")


def _row(option: CommandOption) -> str:
    names = ", ".join(f"`{name}`" for name in option.names)
    value = f" `{_cell(option.value)}`" if option.value else ""
    return f"| {names}{value} | {_cell(option.help)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()
