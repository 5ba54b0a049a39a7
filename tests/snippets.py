"""The code blocks of the documents, and how each of them is put to the test.

A comment on the line before a block says what becomes of it:

    <!-- policy -->            YAML: loads as a whole policy
    <!-- policy: part -->      YAML: loads when its sections are laid over config/default.yaml
    <!-- runs: gateway -->     bash, console or python: runs against a gateway that serves
    <!-- runs: shell -->       bash, console or python: runs in the repository, no gateway
    <!-- shown: WHY -->        not run here; WHY says what covers it instead

In a console block, lines that begin with ``$ `` are run, one after another in one shell, and the
lines after each are what it prints, where ``...`` stands for anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

_MARK = re.compile(r"<!--\s*(?P<verb>policy|runs|shown)(?::\s*(?P<detail>.*?))?\s*-->\s*\Z")
_FENCE = re.compile(r"(?P<indent>\s*)```(?P<language>[a-z]*)\s*\Z")
_BASH = ("bash", "--noprofile", "--norc", "-euo", "pipefail")
_END = "=== end of step ==="


class Snippet(msgspec.Struct, frozen=True, kw_only=True):
    """One fenced block. ``line`` is that of its fence, counted from 1."""

    file: Path
    line: int
    heading: str
    """The heading that it stands under, without the #s."""
    language: str
    text: str
    verb: str = ""
    """policy, runs or shown; empty for a block without a mark."""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"


class Step(msgspec.Struct, frozen=True):
    """One command of a console block, and what it should print."""

    command: str
    expected: str


def snippets_of(file: Path) -> list[Snippet]:
    return list(_scan(file, file.read_text().splitlines())) if file.exists() else []


def _scan(file: Path, lines: Sequence[str]) -> Iterator[Snippet]:
    heading, mark, at = "", None, 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            if lines[at].startswith("#"):
                heading = lines[at].lstrip("# ").strip()
            if lines[at].strip():
                mark = _MARK.match(lines[at].strip())
            at += 1
            continue
        end = _end_of_block(file, lines, at)
        yield Snippet(
            file=file,
            line=at + 1,
            heading=heading,
            language=fence["language"],
            text="\n".join(line.removeprefix(fence["indent"]) for line in lines[at + 1 : end]),
            verb=mark["verb"] if mark else "",
            detail=(mark["detail"] or "") if mark else "",
        )
        at, mark = end + 1, None


def _end_of_block(file: Path, lines: Sequence[str], start: int) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].strip() == "```":
            return at
    raise ValueError(f"{file.name}:{start + 1}: the block is not closed")


# --- running one ----------------------------------------------------------------------------------


def run_snippet(
    snippet: Snippet, *, folder: Path, environ: Mapping[str, str], replace: Mapping[str, str]
) -> str:
    """Runs it in ``folder`` and returns what it printed.

    ``replace`` puts this machine's address and paths in the place of those that a reader has.
    Raises AssertionError when it fails, or when a console block prints something else.
    """
    text = snippet.text
    for theirs, ours in replace.items():
        text = text.replace(theirs, ours)
    if snippet.language == "console":
        return _run_console(snippet, steps_of(text), folder, environ)
    programs = {"bash": _BASH, "python": (sys.executable,)}
    command = [*programs[snippet.language], "-c", text]
    return _run(snippet, command, folder, environ)


def steps_of(text: str) -> list[Step]:
    """The commands of a console block; a line that ends in a backslash goes on in the next."""
    steps: list[Step] = []
    continues = False
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:], ""))
        elif continues:
            steps[-1] = Step(f"{steps[-1].command}\n{line}", "")
        elif steps:
            steps[-1] = Step(steps[-1].command, f"{steps[-1].expected}{line}\n")
        elif line.strip():
            raise ValueError(f"a console block begins with '$ ', not with {line!r}")
        continues = line.endswith("\\") and not (steps and steps[-1].expected)
    return steps


def _run_console(
    snippet: Snippet, steps: Sequence[Step], folder: Path, environ: Mapping[str, str]
) -> str:
    # One shell for all steps, so that a variable set in one is there in the next.
    script = "\n".join(f"{step.command}\necho '{_END}'" for step in steps)
    printed = _run(snippet, [*_BASH, "-c", script], folder, environ)
    outputs = printed.split(f"{_END}\n")
    for step, output in zip(steps, outputs, strict=False):
        assert prints_as_told(step.expected, output), (
            f"{snippet}: $ {step.command}\nshould print:\n{step.expected}\nand prints:\n{output}"
        )
    return printed


def prints_as_told(expected: str, output: str) -> bool:
    """Nothing told: anything goes. ``...`` stands for anything; spaces at line ends do not count.

    A document is free to break a long line of output, so any white space matches any other.
    """
    if not expected.strip():
        return True
    words = " ".join(expected.split())
    pattern = re.escape(words).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, " ".join(output.split()), re.DOTALL) is not None


def _run(snippet: Snippet, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{snippet}: {snippet.text}\n{done.stdout}{done.stderr}"
    return done.stdout
