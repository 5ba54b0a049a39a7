"""Charts as SVG, which a page carries in itself. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence

import msgspec

_WIDTH, _HEIGHT = 960, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 8, 22
_TICKS = 4


class Curve(msgspec.Struct, frozen=True):
    """One course: ``points`` lie at even distances."""

    name: str
    colour: str
    points: Sequence[float]
    filled: bool = False


class Axis(msgspec.Struct, frozen=True):
    """Of time, in seconds; what is before ``judged_from`` is shaded."""

    start: float
    end: float
    judged_from: float


def chart(title: str, unit: str, lines: Sequence[Curve], axis: Axis) -> str:
    """An SVG with its title and a legend."""
    most = max((max(line.points, default=0.0) for line in lines), default=0.0) or 1.0
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        _learned(axis),
        *_grid(most, axis),
        *(_path(line, most) for line in lines),
        "</svg>",
    ]
    legend = " ".join(
        f'<span><i style="background:{line.colour}"></i>{html.escape(line.name)}</span>'
        for line in lines
    )
    head = f"<h2>{html.escape(title)} <small>{html.escape(unit)}</small></h2>"
    return f"<section>{head}<p>{legend}</p>{''.join(parts)}</section>"


def _learned(axis: Axis) -> str:
    width = (axis.judged_from - axis.start) / (axis.end - axis.start) * _inner_width()
    return (
        f'<rect class="learned" x="{_LEFT}" y="{_TOP}" width="{max(width, 0):.1f}" '
        f'height="{_inner_height()}"/>'
    )


def _grid(most: float, axis: Axis) -> list[str]:
    parts = []
    for tick in range(_TICKS + 1):
        y = _TOP + _inner_height() * (1 - tick / _TICKS)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = f"{most * tick / _TICKS:.3g}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{label}</text>')
        x = _LEFT + _inner_width() * tick / _TICKS
        at = axis.start + (axis.end - axis.start) * tick / _TICKS
        place = "end" if tick == _TICKS else "middle"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" class="{place}">{_clock(at)}</text>')
    return parts


def _clock(at: float) -> str:
    day, rest = divmod(int(at), 86_400)
    return f"day {day + 1}, {rest // 3600:02d}:{rest % 3600 // 60:02d}"


def _path(line: Curve, most: float) -> str:
    step = _inner_width() / max(len(line.points), 1)
    height = _inner_height()
    corners = [f"M{_LEFT},{_TOP + height}" if line.filled else ""]
    for number, value in enumerate(line.points):
        x = _LEFT + (number + 0.5) * step
        y = _TOP + height * (1 - value / most)
        corners.append(f"{'L' if corners[-1] else 'M'}{x:.1f},{y:.1f}")
    if line.filled:
        corners.append(f"L{_WIDTH - _RIGHT},{_TOP + height}Z")
    style = f'fill="{line.colour}" fill-opacity=".35"' if line.filled else 'fill="none"'
    return f'<path d="{"".join(corners)}" {style} stroke="{line.colour}"/>'


def _inner_width() -> float:
    return _WIDTH - _LEFT - _RIGHT


def _inner_height() -> float:
    return _HEIGHT - _TOP - _BOTTOM
