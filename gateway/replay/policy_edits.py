"""Changes of single keys in a policy's text; its comments and its order stay. Pure."""

from __future__ import annotations

import difflib

import yaml

_INDENT = "  "


def edited(text: str, path: tuple[str, ...], value: str) -> str:
    """The document with ``value``, YAML on one line, at ``path``. Mappings that are missing are
    made. Raises ValueError where something on the way is no mapping."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return text + _new(path, value, 0)
    return _edited(text, root, path, value, path)


def _edited(
    text: str, node: yaml.Node, path: tuple[str, ...], value: str, whole: tuple[str, ...]
) -> str:
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{'.'.join(whole)}: {'.'.join(whole[: -len(path)])} is no mapping")
    for key, child in node.value:
        if key.value == path[0]:
            if len(path) > 1:
                return _edited(text, child, path[1:], value, whole)
            end = child.end_mark.index
            kept = text[child.start_mark.index : end]
            end -= len(kept) - len(kept.rstrip())
            return text[: child.start_mark.index] + value + text[end:]
    return _inserted(text, node, path, value)


def _inserted(text: str, node: yaml.MappingNode, path: tuple[str, ...], value: str) -> str:
    start = node.start_mark.index
    if node.flow_style:
        rest = "".join(f"{{{key}: " for key in path[1:])
        entry = f"{path[0]}: {rest}{value}{'}' * (len(path) - 1)}"
        comma = ", " if node.value else ""
        return f"{text[: start + 1]}{entry}{comma}{text[start + 1 :]}"
    column = node.start_mark.column
    if not column:
        gap = "" if text.endswith("\n") or not text else "\n"
        return f"{text}{gap}{_new(path, value, 0)}"
    return text[:start] + _new(path, value, column).lstrip() + " " * column + text[start:]


def _new(path: tuple[str, ...], value: str, column: int) -> str:
    lines = [f"{' ' * column}{_INDENT * depth}{key}:" for depth, key in enumerate(path)]
    return "\n".join(lines) + f" {value}\n"


def difference(before: str, after: str, name: str) -> str:
    """A unified diff; empty where nothing differs."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"{name}",
        f"{name} (proposed)",
    )
    return "".join(lines)
