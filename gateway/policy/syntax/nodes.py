"""YAML text -> a tree whose every key and value knows its line and column.

The tree is built from the parser's events, so that what YAML allows and a policy does not
(tags, keys given twice, deep nesting, aliases that multiply) is found before anything is made
of it. Nothing is interpreted here: a scalar keeps its text. ``written`` makes text of it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
import yaml

from gateway.policy.syntax.problems import Mark, PolicyError, Problem, join, problem_at

MAX_DEPTH = 32
MAX_NODES = 50_000
"""Keys and values in one file, aliases counted as what they stand for."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_WIDTH = 100
_BARE = re.compile(r"\{.*[:,\s]\$\{")
"""A variable without quotes where YAML takes its braces for a mapping's."""
_IMPLICIT: dict[str | None, list[tuple[str, Any]]] = yaml.SafeLoader.yaml_implicit_resolvers


class ScalarNode(msgspec.Struct, frozen=True):
    """``plain`` means: written without quotes, so YAML may read it as more than a string."""

    mark: Mark
    text: str
    plain: bool

    @property
    def type(self) -> str:
        """What YAML 1.1 takes it for: str, null, bool, int, float, timestamp, ..."""
        if not self.plain:
            return "str"
        for tag, pattern in _IMPLICIT.get(self.text[:1], ()):
            if pattern.match(self.text):
                return tag.rpartition(":")[2]
        return "str"


class ListNode(msgspec.Struct, frozen=True):
    """A sequence."""

    mark: Mark
    items: tuple[Node, ...]


class MapEntry(msgspec.Struct, frozen=True):
    """One pair of a mapping."""

    mark: Mark
    """Of the key."""
    value: Node


class MapNode(msgspec.Struct, frozen=True):
    """A mapping, its keys in the order of the file."""

    mark: Mark
    entries: dict[str, MapEntry]


Node = ScalarNode | ListNode | MapNode

_NO_KEY = ScalarNode(Mark(""), "", plain=False)
"""Stands for a key that is refused, while its value is still read."""


def parse(text: str, name: str) -> tuple[MapNode, list[Problem]]:
    """The document and what is wrong with it that does not hide the rest.

    Raises PolicyError when there is no tree to go on with.
    """
    tree = _Tree(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            tree.take(event)
    except yaml.YAMLError as error:
        raise PolicyError([*tree.problems, _syntax(error, text, name)]) from None
    except UnicodeEncodeError as error:
        mark = _mark_of(text, error.start, name)
        raise PolicyError([problem_at(mark, "", "not UTF-8 text")]) from None
    return tree.document(), tree.problems


def written(document: MapNode) -> str:
    """YAML that says the same, in the same order: without comments, anchors and layout."""
    events = [
        yaml.StreamStartEvent(),
        yaml.DocumentStartEvent(explicit=False),
        *_events(document),
        yaml.DocumentEndEvent(explicit=False),
        yaml.StreamEndEvent(),
    ]
    text: str = yaml.emit(events, Dumper=_DUMPER, allow_unicode=True, width=_WIDTH)
    return text


def _events(node: Node) -> Iterator[yaml.Event]:
    if isinstance(node, ScalarNode):
        yield _scalar_event(node.text, plain=node.plain)
    elif isinstance(node, ListNode):
        yield yaml.SequenceStartEvent(None, None, implicit=True, flow_style=not node.items)
        for item in node.items:
            yield from _events(item)
        yield yaml.SequenceEndEvent()
    else:
        yield yaml.MappingStartEvent(None, None, implicit=True, flow_style=not node.entries)
        for key, entry in node.entries.items():
            yield _scalar_event(key, plain=True)
            yield from _events(entry.value)
        yield yaml.MappingEndEvent()


def _scalar_event(text: str, *, plain: bool) -> yaml.Event:
    """Quoted where it was quoted, or cannot be plain."""
    return yaml.ScalarEvent(None, None, (plain, True), text, style=None if plain else '"')


def _syntax(error: yaml.YAMLError, text: str, name: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        at = error.problem_mark
        mark = Mark(name, at.line + 1, at.column + 1)
        lines = text.splitlines()
        line = lines[at.line] if at.line < len(lines) else ""
        if line[at.column : at.column + 1] == "\t":
            return problem_at(mark, "", "a tab cannot indent YAML; use spaces")
        bare = "; ${NAME} inside of {...} stands in quotes" if _BARE.search(line) else ""
        return problem_at(mark, "", f"not valid YAML: {error.problem}{bare}")
    if isinstance(error, yaml.reader.ReaderError):
        mark = _mark_of(text, error.position, name)
        return problem_at(mark, "", "not valid YAML: a control character")
    return problem_at(Mark(name, 1, 1), "", "not valid YAML")


def _mark_of(text: str, position: int, name: str) -> Mark:
    before = text[:position]
    return Mark(name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Open:
    """A mapping or list whose end has not been seen."""

    __slots__ = ("anchor", "entries", "items", "key", "mapping", "mark", "merged", "path", "size")

    def __init__(self, mark: Mark, *, mapping: bool, path: str, anchor: str | None) -> None:
        self.mark = mark
        self.mapping = mapping
        self.path = path
        self.anchor = anchor
        self.entries: dict[str, MapEntry] = {}
        self.items: list[Node] = []
        self.merged: list[Node] = []
        self.key: ScalarNode | None = None
        self.size = 1

    def child_path(self) -> str:
        if self.mapping:
            return join(self.path, self.key.text) if self.key else self.path
        return f"{self.path}[{len(self.items)}]"


class _Tree:
    """Takes the parser's events one by one."""

    def __init__(self, name: str) -> None:
        self.problems: list[Problem] = []
        self._name = name
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._root: Node | None = None
        self._documents = 0

    def document(self) -> MapNode:
        """The whole document. Raises PolicyError when it is not a mapping."""
        empty = self._root is None or _is_null(self._root)
        if isinstance(self._root, MapNode):
            return self._root
        message = (
            "the file is empty; a policy begins with version: 1"
            if empty
            else "a policy is a mapping (key: value) that begins with version: 1"
        )
        raise PolicyError([*self.problems, problem_at(Mark(self._name, 1, 1), "", message)])

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(self._mark(event), "a second document; a file holds one")

    def _mark(self, event: Any) -> Mark:
        return Mark(self._name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _path(self) -> str:
        return self._open[-1].child_path() if self._open else ""

    def _note(self, mark: Mark, message: str) -> None:
        self.problems.append(problem_at(mark, self._path(), message))

    def _refuse(self, mark: Mark, message: str) -> NoReturn:
        self._note(mark, message)
        raise PolicyError(self.problems)

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None:
            self._note(self._mark(event), "a tag (!...) is not taken; write the plain value")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._check_tag(event)
        node = ScalarNode(self._mark(event), event.value, bool(event.implicit[0]))
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1)
        self._add(node, 1, node.mark)

    def _begin(self, event: Any) -> None:
        self._check_tag(event)
        mark = self._mark(event)
        if len(self._open) >= MAX_DEPTH:
            self._refuse(mark, f"nested more than {MAX_DEPTH} levels deep")
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(mark, mapping=mapping, path=self._path(), anchor=event.anchor))
        if event.anchor is not None:
            self._anchors[event.anchor] = None

    def _end(self) -> None:
        done = self._open.pop()
        node: Node
        if done.mapping:
            self._merge(done)
            node = MapNode(done.mark, done.entries)
        else:
            node = ListNode(done.mark, tuple(done.items))
        if done.anchor is not None:
            self._anchors[done.anchor] = (node, done.size)
        self._add(node, done.size, done.mark)

    def _alias(self, event: Any) -> None:
        mark = self._mark(event)
        target = self._anchors.get(event.anchor)
        if target is None:
            inside = event.anchor in self._anchors
            what = "stands inside what it names" if inside else "names no anchor"
            self._note(mark, f"the alias *{event.anchor} {what}")
            target = ScalarNode(mark, "", plain=True), 1
        node, size = target
        self._add(node, size, mark)

    def _add(self, node: Node, size: int, mark: Mark) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.size += size
        if parent.size > MAX_NODES:
            self._refuse(mark, f"more than {MAX_NODES} values, counting what aliases repeat")
        if not parent.mapping:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = self._key(node, mark)
        else:
            self._pair(parent, parent.key, node)
            parent.key = None

    def _key(self, node: Node, mark: Mark) -> ScalarNode:
        if isinstance(node, ScalarNode):
            return ScalarNode(mark, node.text, node.plain)
        self._note(mark, "a key must be a word, not a list or a mapping")
        return _NO_KEY

    def _pair(self, parent: _Open, key: ScalarNode, value: Node) -> None:
        if key is _NO_KEY:
            return
        if key.plain and key.text == "<<":
            parent.merged.append(value)
        elif (first := parent.entries.get(key.text)) is not None:
            self._note(key.mark, f"given twice; first at {first.mark}")
        else:
            parent.entries[key.text] = MapEntry(key.mark, value)

    def _merge(self, done: _Open) -> None:
        """YAML's ``<<``: what the mapping says itself wins, then the first one merged."""
        for value in done.merged:
            for base in value.items if isinstance(value, ListNode) else (value,):
                if isinstance(base, MapNode):
                    done.entries = {**base.entries, **done.entries}
                else:
                    text = "<< takes a mapping, or a list of mappings"
                    self.problems.append(problem_at(done.mark, done.path, text))


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.type == "null"
