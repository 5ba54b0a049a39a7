"""How documents are read, and their blocks run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.snippets import Snippet, prints_as_told, run_snippet, snippets_of, steps_of

PAGE = """# A page
## Try it
<!-- runs: shell -->
```console
$ echo one \\
    two
one two
$ value=3
$ echo "value $value, id $$"
value 3, id ...
```
Text in between.
```yaml
a: 1
```
"""


def page(folder: Path, text: str = PAGE) -> list[Snippet]:
    file = folder / "page.md"
    file.write_text(text)
    return snippets_of(file)


def run(snippet: Snippet, folder: Path, **replace: str) -> str:
    return run_snippet(snippet, folder=folder, environ=os.environ, replace=replace)


def test_a_mark_belongs_to_the_block_right_after_it(tmp_path: Path) -> None:
    first, second = page(tmp_path)
    assert (first.verb, first.detail, first.language, first.line) == ("runs", "shell", "console", 4)
    assert first.heading == "Try it"
    assert (second.verb, second.text) == ("", "a: 1")


def test_text_between_a_mark_and_a_block_parts_them(tmp_path: Path) -> None:
    (snippet,) = page(tmp_path, "<!-- policy -->\ntext\n```yaml\na: 1\n```\n")
    assert snippet.verb == ""


def test_a_console_block_runs_in_one_shell_and_must_print_what_it_says(tmp_path: Path) -> None:
    printed = run(page(tmp_path)[0], tmp_path)
    assert "one two" in printed


def test_a_console_block_that_prints_something_else_fails(tmp_path: Path) -> None:
    (snippet,) = page(tmp_path, "```console\n$ echo one\ntwo\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:1: \$ echo one"):
        run(snippet, tmp_path)


@pytest.mark.parametrize("text", ["```bash\nfalse\ntrue\n```\n", "```python\n1/0\n```\n"])
def test_a_block_that_fails_anywhere_fails(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        run(page(tmp_path, text)[0], tmp_path)


def test_the_readers_address_is_replaced_by_ours(tmp_path: Path) -> None:
    (snippet,) = page(tmp_path, "```python\nprint('https://127.0.0.1:8443/v1')\n```\n")
    assert run(snippet, tmp_path, **{"127.0.0.1:8443": "127.0.0.1:9"}) == "https://127.0.0.1:9/v1\n"


def test_a_block_that_is_not_closed_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"page\.md:1: the block is not closed"):
        page(tmp_path, "```bash\ntrue\n")


def test_output_without_a_command_is_no_console_block() -> None:
    with pytest.raises(ValueError, match="begins with"):
        steps_of("one\n")


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("", "anything\n", True),
        ("a ... c\n", "a b c\n", True),
        ("{...}\n", "{\n  1\n}\n", True),
        ("a b\n", "a\nb\n", True),
        ("a\n", "a b\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_dots_stand_for_anything_and_nothing_else_does(
    expected: str, output: str, same: bool
) -> None:
    assert prints_as_told(expected, output) is same
