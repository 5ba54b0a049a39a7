"""``spillgate completion``: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

from gateway.cli import COMMANDS
from gateway.cli.parsers import CommandHelp, usages
from gateway.cli.shared import command

SHELLS = ("bash", "zsh", "fish")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0."""
    shell = _parser().parse_args(arguments).shell
    told = [one for name, each in COMMANDS.items() for one in usages(name, *each)]
    print(_fish(told) if shell == "fish" else _bash(told, zsh=shell == "zsh"), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "completion",
        "Prints what a shell needs to complete commands and options: bash reads it by "
        "`source <(spillgate completion bash)` in ~/.bashrc, zsh by the same line with zsh in "
        "~/.zshrc, fish by `spillgate completion fish | source` in its config.fish.",
        "spillgate completion bash > ~/.local/share/bash-completion/completions/spillgate",
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser


def _bash(told: Sequence[CommandHelp], *, zsh: bool) -> str:
    head = "autoload -U +X bashcompinit && bashcompinit\n" if zsh else ""
    deeper = [one for one in told if len(one.words) > 1]
    first = [one for one in told if len(one.words) == 1]
    return head + _BASH.format(
        commands=" ".join(COMMANDS),
        files="|".join(sorted(set(_files(told)))),
        values="".join(_case(f'"{words}"', choices) for words, choices in _values(told)),
        cases="".join(
            [
                *(_case(f'"{" ".join(one.words)}"', _words(one)) for one in deeper),
                *(_case(f'"{one.words[0]} "*', _words(one)) for one in first),
            ]
        ),
    )


_BASH = """\
_spillgate() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands} --help --version" -- "$cur"))
    return
  fi
  case "$prev" in
    {files}) COMPREPLY=($(compgen -f -- "$cur")); return;;
  esac
  case "${{COMP_WORDS[1]}} $prev" in
{values}  esac
  if [ -z "$words" ]; then
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{cases}    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _spillgate spillgate
"""


def _case(pattern: str, words: Iterable[str]) -> str:
    return f'    {pattern}) words="{" ".join(words)}";;\n'


def _words(one: CommandHelp) -> list[str]:
    flags = [name for option in one.options if option.is_flag for name in option.names]
    chosen = [word for option in one.options if not option.is_flag for word in option.choices]
    return [*one.actions, *chosen, *flags, "--help"]


def _files(told: Iterable[CommandHelp]) -> Iterator[str]:
    for one in told:
        for option in one.options:
            if option.takes_file and option.is_flag:
                yield from option.names


def _values(told: Iterable[CommandHelp]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Of options with a choice of values."""
    seen = set()
    for one in told:
        for option in one.options:
            for name in option.names if option.is_flag and option.choices else ():
                if (key := f"{one.words[0]} {name}") not in seen:
                    seen.add(key)
                    yield key, option.choices


def _fish(told: Sequence[CommandHelp]) -> str:
    lines = ["complete -c spillgate -f"]
    for name, each in COMMANDS.items():
        lines.append(
            f"complete -c spillgate -n __fish_use_subcommand -a {name} -d {_quoted(each.about)}"
        )
    for one in told:
        lines += _fish_of(one)
    return "\n".join(lines) + "\n"


def _fish_of(one: CommandHelp) -> Iterator[str]:
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in one.words)
    base = f"complete -c spillgate -n '{seen}'"
    for action in one.actions:
        yield f"{base} -a {action}"
    for option in one.options:
        if not option.is_flag:
            yield from (f"{base} -a {choice}" for choice in option.choices)
            continue
        takes = " -r" if option.value else ""
        takes += " -F" if option.takes_file else ""
        takes += f" -a {_quoted(' '.join(option.choices))}" if option.choices else ""
        for name in option.names:
            dash = "-l" if name.startswith("--") else "-s"
            yield f"{base} {dash} {name.lstrip('-')}{takes} -d {_quoted(option.help[:60])}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
