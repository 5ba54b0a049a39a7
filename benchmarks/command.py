"""What the commands of the benchmarks share: their options, their progress, their results."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

import msgspec

Effort = TypeVar("Effort", bound=msgspec.Struct)


def parser_of(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with examples."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_rounds(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Who takes part, and for how long."""
    add = parser.add_argument
    add("--only", type=some_of(names), help="contenders, with commas between them")
    add("--rounds", type=int, help="rounds in which the contenders take turns")
    add("--duration", type=float, help="seconds of load for one contender in one round")


def add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables into this page"
    )


def some_of(names: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """The type of an option: some of these names, with commas between them."""

    def read(text: str) -> tuple[str, ...]:
        given = tuple(name.strip() for name in text.split(","))
        for name in given:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(names)}")
        return given

    return read


def with_given(effort: Effort, **given: object) -> Effort:
    """The effort with what an option states; what was left out stays."""
    stated = {name: value for name, value in given.items() if value is not None}
    return msgspec.structs.replace(effort, **stated)


def say(line: str) -> None:
    """Progress, beside the result."""
    print(f"  {line}", file=sys.stderr, flush=True)


def deliver(
    report: msgspec.Struct,
    text: str,
    options: argparse.Namespace,
    page_with: Callable[[str], str],
) -> None:
    """Prints the result and writes what ``add_files`` was asked for; ``page_with`` makes the new
    page of the old one."""
    print(text)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if options.markdown:
        page = options.markdown.read_text() if options.markdown.exists() else ""
        options.markdown.write_text(page_with(page))


def end_when_terminated() -> None:
    """SIGTERM ends the run as the keyboard does, and so what it has started."""
    signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
