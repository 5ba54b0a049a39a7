"""``spillgate init``: a first policy, commented and valid, by a few questions or by flags."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.cli.shared import AnySecret, command, fail, is_terminal
from gateway.cli.upkeep.templates import APP, TEMPLATES, Question, filled
from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.problems import PolicyError

_OPTIONS = dict.fromkeys(one.name for each in TEMPLATES.values() for one in each.questions)


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: it was asked wrongly, or a file is there already."""
    options = _parser().parse_args(arguments)
    name = options.template or _template()
    answers = {one.name: _answer(options, one) for one in TEMPLATES[name].questions}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = filled(
        name,
        answers,
        listen=options.listen,
        spend=options.spend,
        hourly=options.hourly,
        today=today,
    )
    _check(text)
    written = [_write(options.out, text, options.force)]
    app = options.out.parent / answers["app"].rpartition(":")[0] if name == "local" else None
    if app is not None and app.suffix == ".py" and not app.exists():
        written.append(_write(app, APP, force=False))
    unset = [one for one in TEMPLATES[name].secrets if one not in os.environ]
    _tell(options, written, unset)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "init",
        "Writes a first policy, with a comment at each part, and says what comes next. On a "
        "terminal it asks for what no option has told.",
        "spillgate init --template vllm-runpod --endpoint abc123 --model llama",
    )
    abouts = "; ".join(f"{name}: {one.about}" for name, one in TEMPLATES.items())
    parser.add_argument("--template", choices=TEMPLATES, help=abouts)
    parser.add_argument(
        "--out", type=Path, default=Path("spillgate.yaml"), metavar="FILE", help="spillgate.yaml"
    )
    for name in _OPTIONS:
        parser.add_argument(f"--{name}", help=_help_of(name))
    parser.add_argument(
        "--listen", default="127.0.0.1:8443", metavar="HOST:PORT", help="127.0.0.1:8443"
    )
    parser.add_argument(
        "--spend", type=_money, default=5.0, metavar="USD", help="of each user a month: 5"
    )
    parser.add_argument(
        "--hourly", type=_money, default=0.1, metavar="USD", help="what your machine costs: 0.1"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the policy that is there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _help_of(name: str) -> str:
    """What each template means by the option, where they do not mean the same; the default."""
    meant: dict[str, list[str]] = {}
    for template, policy in TEMPLATES.items():
        for one in policy.questions:
            if one.name == name:
                text = f"{one.text}: {one.default}" if one.default else one.text
                meant.setdefault(text, []).append(template)
    if len(meant) == 1:
        return next(iter(meant))
    return "; ".join(f"({', '.join(names)}) {text}" for text, names in meant.items())


def _money(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"expected an amount above 0, found {text!r}")
    return value


def _template() -> str:
    if not is_terminal(sys.stdin):
        fail(f"--template: give one of {', '.join(TEMPLATES)}")
    names = list(TEMPLATES)
    for number, (name, one) in enumerate(TEMPLATES.items(), 1):
        print(f"  {number}  {name:<12} {one.about}", file=sys.stderr)
    given = _asked("which of them (number or name)", "1")
    found = names[int(given) - 1] if given.isdecimal() and 1 <= int(given) <= len(names) else given
    if found not in TEMPLATES:
        fail(f"{given!r} is none of {', '.join(names)}")
    return found


def _answer(options: argparse.Namespace, question: Question) -> str:
    given = getattr(options, question.name)
    if given is None and is_terminal(sys.stdin):
        given = _asked(question.text, question.default)
    answer = given or question.default
    if not answer:
        fail(f"--{question.name}: give {question.text}")
    return str(json.dumps(answer)) if _needs_quotes(answer) else answer


def _needs_quotes(answer: str) -> bool:
    """Whether YAML could read it as something else than this text."""
    plain = answer.replace("://", "").replace("/", "").replace(".", "").replace(":", "")
    is_plain = plain.replace("-", "").replace("_", "").isalnum() and not answer.endswith(":")
    return not is_plain or not answer[0].isalpha()


def _asked(text: str, default: str) -> str:
    shown = f" [{default}]" if default else ""
    print(f"{text}{shown}: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        fail("the input ended before every question was answered; nothing was written")
    return line.strip() or default


def _check(text: str) -> None:
    try:
        read_policy_text(text, AnySecret(os.environ), "the policy")
    except PolicyError as error:
        fail(f"{error}\nNothing was written.")


def _write(path: Path, text: str, force: bool) -> Path:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{path} is there already: give another --out, or --force to overwrite it")
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    return path


def _tell(options: argparse.Namespace, written: Sequence[Path], unset: Sequence[str]) -> None:
    if options.json:
        told: dict[str, Any] = {"written": [str(one) for one in written], "unset": list(unset)}
        print(json.dumps(told, indent=2))
        return
    print("\n".join(_next(options, written, unset)))


def _next(
    options: argparse.Namespace, written: Sequence[Path], unset: Sequence[str]
) -> Iterator[str]:
    named = "" if options.out == Path("spillgate.yaml") else f" --config {options.out}"
    yield from (f"wrote {one}" for one in written)
    yield "Next:"
    yield from (f"  export {one}=...   # or {one}_FILE=/run/secrets/..." for one in unset)
    yield f"  spillgate doctor{named}"
    yield f"  spillgate serve{named}"
