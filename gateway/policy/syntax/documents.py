"""A file, or a folder of which every ``*.yaml`` and ``*.yml`` is merged -> one document."""

from __future__ import annotations

from pathlib import Path

from adapters.regular_files import open_regular
from gateway.policy.syntax.nodes import MapEntry, MapNode, ScalarNode, parse
from gateway.policy.syntax.problems import Mark, PolicyError, Problem, problem_at

MAX_BYTES = 1024 * 1024
MAX_FILES = 256
_SUFFIXES = (".yaml", ".yml")


def read_path(path: Path) -> tuple[MapNode, list[Problem]]:
    """The merged document, and problems that do not hide the rest.

    Raises PolicyError when a file cannot be read or is not YAML.
    """
    documents: list[MapNode] = []
    problems: list[Problem] = []
    fatal: list[Problem] = []
    for file in policy_files(path):
        try:
            document, found = parse(_text(file), str(file))
        except PolicyError as error:
            fatal.extend(error.problems)
        else:
            documents.append(document)
            problems.extend(found)
    if fatal:
        raise PolicyError([*problems, *fatal])
    return merge(documents, problems), problems


def read_text(text: str, name: str) -> tuple[MapNode, list[Problem]]:
    """As ``read_path``, for a text that came by another way; ``name`` stands for the file. Raises
    PolicyError for a text that is too large, or no YAML at all."""
    if len(text) > MAX_BYTES:
        raise _refused(name, _TOO_LARGE)
    return parse(text.removeprefix("\ufeff"), name)


_TOO_LARGE = f"larger than {MAX_BYTES} bytes"


def _refused(name: str, message: str) -> PolicyError:
    return PolicyError([problem_at(Mark(name), "", message)])


def policy_files(path: Path) -> list[Path]:
    """Hidden files are left out: editors keep their locks and copies there."""
    try:
        if not path.is_dir():
            return [path]
        files = sorted(
            file
            for file in path.iterdir()
            if file.suffix in _SUFFIXES and not file.name.startswith(".") and file.is_file()
        )
    except (OSError, ValueError) as error:
        raise _refused(str(path), f"cannot be read: {_reason(error)}") from None
    if not files:
        raise _refused(str(path), "a folder without a .yaml file")
    if len(files) > MAX_FILES:
        raise _refused(str(path), f"a folder with more than {MAX_FILES} .yaml files")
    return files


def _text(file: Path) -> str:
    try:
        if file.exists() and not file.is_file():
            raise _refused(str(file), "is not a regular file")
        with open_regular(file) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _refused(str(file), f"cannot be read: {_reason(error)}") from None
    if len(raw) > MAX_BYTES:
        raise _refused(str(file), _TOO_LARGE)
    return _decoded(raw, str(file))


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "no such path"


def _decoded(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        mark = Mark(name, line, column)
        raise PolicyError([problem_at(mark, "", "not UTF-8 text")]) from None


def merge(documents: list[MapNode], problems: list[Problem]) -> MapNode:
    """One document of several: sections are joined, and no key of a section may be in two.

    ``version`` may stand in each file.
    """
    merged: dict[str, MapEntry] = {}
    for document in documents:
        for key, entry in document.entries.items():
            if key in merged:
                merged[key] = _joined(key, merged[key], entry, problems)
            else:
                merged[key] = entry
    return MapNode(documents[0].mark, merged)


def _joined(section: str, first: MapEntry, second: MapEntry, problems: list[Problem]) -> MapEntry:
    one, two = first.value, second.value
    if isinstance(one, MapNode) and isinstance(two, MapNode):
        entries = dict(one.entries)
        for key, entry in two.entries.items():
            if key in entries:
                problems.append(_twice(f"{section}.{key}", entries[key], entry))
            else:
                entries[key] = entry
        return MapEntry(first.mark, MapNode(one.mark, entries))
    if not (section == "version" and _text_of(one) == _text_of(two)):
        problems.append(_twice(section, first, second))
    return first


def _text_of(node: object) -> str | None:
    return node.text if isinstance(node, ScalarNode) else None


def _twice(path: str, first: MapEntry, second: MapEntry) -> Problem:
    return problem_at(second.mark, path, f"given twice; first at {first.mark}")
