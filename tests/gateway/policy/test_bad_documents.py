"""What is said of a bad document: word for word, with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.problems import PolicyError
from tests.gateway.policy.kinds import ENVIRON, KINDS

CORPUS = Path(__file__).with_name("bad_documents.txt")


def cases() -> dict[str, tuple[str, list[str]]]:
    """Name -> (document, expected lines) of the corpus."""
    table: dict[str, tuple[str, list[str]]] = {}
    for block in CORPUS.read_text(encoding="utf-8").split("\n## ")[1:]:
        name, _, body = block.partition("\n")
        lines = body.splitlines(keepends=True)
        document = "".join(line for line in lines if not line.startswith("-> ")).rstrip("\n")
        said = [line[3:].rstrip("\n") for line in lines if line.startswith("-> ")]
        table[name] = (document + "\n", said)
    return table


CASES = cases()


def problems_of(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        read_policy_text(text, ENVIRON, "p.yaml", kinds=KINDS)
    return str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_document_is_refused_with_place_reason_and_what_is_allowed(name: str) -> None:
    """Each problem is one line, in the order of the file, and nothing else is said."""
    document, expected = CASES[name]
    assert problems_of(document).splitlines() == [f"p.yaml:{line}" for line in expected]


def test_the_corpus_is_large_and_every_case_in_it_expects_something() -> None:
    """A corpus that was cut or misread would pass for the wrong reason."""
    assert len(CASES) >= 90
    assert all(said for _, said in CASES.values())


def test_no_problem_of_the_corpus_shows_a_secret() -> None:
    """Neither one that was written out, nor one from the environment."""
    said = "\n".join(problems_of(document) for document, _ in CASES.values())
    assert "rpa_" not in said
    assert "12345678" not in said


def test_a_control_character_is_refused_and_none_reaches_the_terminal() -> None:
    """In a value by the YAML parser; in a key by escaping what is printed."""
    assert problems_of('version: 1\nserver: {data: "a\x07b"}\n') == (
        "p.yaml:2:18: not valid YAML: a control character"
    )
    assert problems_of('version: 1\n"a\\e[31m\\nb": 1\n').startswith(
        "p.yaml:2:1: a\\x1b[31m\\nb: unknown key"
    )


def test_half_a_surrogate_is_no_text() -> None:
    """Such a string can come out of JSON, not out of a file."""
    assert problems_of("version: 1\nplans: \ud800\n") == "p.yaml:2:8: not UTF-8 text"


def test_deep_nesting_is_refused_where_it_goes_too_deep() -> None:
    """A hundred thousand brackets cost no stack and no time."""
    said = problems_of("version: 1\nserver: " + "[" * 100_000)
    assert "p.yaml:2:40: server[0]" in said
    assert said.endswith("nested more than 32 levels deep")


def test_aliases_that_multiply_are_refused_before_they_are_unfolded() -> None:
    """A billion laughs: nine lines that would be ten to the ninth values."""
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert problems_of("\n".join(lines)).endswith(
        "more than 50000 values, counting what aliases repeat"
    )


def test_a_text_larger_than_a_megabyte_is_refused_unread() -> None:
    """The bound is on bytes of YAML, whatever they say."""
    assert problems_of("#" * (1024 * 1024 + 1)) == "p.yaml: larger than 1048576 bytes"


def test_a_thousand_problems_are_told_and_no_more() -> None:
    """A file of nonsense cannot fill the operator's disk with complaints."""
    text = "version: 1\n" + "".join(f"nonsense{n}: 1\n" for n in range(5000))
    assert len(problems_of(text).splitlines()) == 1000


def test_many_names_cost_neither_time_nor_screens() -> None:
    """Three thousand names, and as many that miss them by a letter."""
    backends = "".join(f"  backend{n}: {{kind: home, app: a}}\n" for n in range(3000))
    models = "".join(f"  m{n}: {{task: chat, backends: [bakend{n}]}}\n" for n in range(3000))
    lines = problems_of(f"version: 1\nbackends:\n{backends}models:\n{models}").splitlines()
    assert len(lines) == 1000
    assert "did you mean backend" in lines[0]
    assert lines[0].endswith("and 2950 more")
    assert max(map(len, lines)) < 1000
