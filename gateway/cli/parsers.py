"""What every command may be told, read from its own parser: for shells and for the reference."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.cli.policy_file import config_path

_Parser = argparse.ArgumentParser


class CommandOption(msgspec.Struct, frozen=True):
    names: tuple[str, ...]
    """Such as ``("--from", "--since")``; of an argument by its place its name alone."""
    value: str
    """What is written after it, such as PATH; empty where nothing is."""
    choices: tuple[str, ...]
    takes_file: bool
    help: str

    @property
    def is_flag(self) -> bool:
        """Begins with a dash."""
        return self.names[0].startswith("-")


class CommandHelp(msgspec.Struct, frozen=True):
    """One command, or one thing that it may be told to do."""

    words: tuple[str, ...]
    """Such as ``("keys", "create")``."""
    about: str
    example: str
    options: tuple[CommandOption, ...]
    actions: tuple[str, ...]
    """What may follow the words, where something must."""


def usages(name: str, module: str, about: str) -> list[CommandHelp]:
    """The command, then each of its actions; ``module`` is below this package. One whose module
    has no parser hands over to another program, and has no options here."""
    found = importlib.import_module(f"gateway.cli.{module}")
    make = getattr(found, "_parser", None)
    shown = f"example:\n  {getattr(found, 'EXAMPLE', '')}"
    parser = _Parser(description=about, epilog=shown) if make is None else make()
    return [*_usages((name,), parser, about)]


def _usages(words: tuple[str, ...], parser: _Parser, about: str) -> Iterator[CommandHelp]:
    actions = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    below = dict(actions[0].choices) if actions else {}
    helps = {one.dest: one.help or "" for each in actions for one in each._choices_actions}
    yield CommandHelp(
        words=words,
        about=parser.description or about,
        example=(parser.epilog or "").partition("example:")[2].strip(),
        options=tuple(_options(parser)),
        actions=tuple(below),
    )
    for name, inner in below.items():
        yield from _usages((*words, name), inner, helps.get(name, ""))


def _options(parser: _Parser) -> Iterator[CommandOption]:
    for one in parser._actions:
        if one.help == argparse.SUPPRESS or isinstance(
            one, argparse._HelpAction | argparse._SubParsersAction
        ):
            continue
        yield CommandOption(
            names=tuple(one.option_strings) or (str(one.metavar or one.dest),),
            value="" if one.nargs == 0 or not one.option_strings else _value(one),
            choices=tuple(map(str, one.choices or ())),
            takes_file=one.type in (Path, config_path),
            help=" ".join((one.help or "").replace("%%", "%").split()),
        )


def _value(one: argparse.Action) -> str:
    return "|".join(map(str, one.choices)) if one.choices else str(one.metavar or one.dest.upper())
