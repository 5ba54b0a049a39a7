"""A replay as one HTML file: figures and charts, with nothing that is fetched from elsewhere."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence

from gateway.replay.charts import Axis, Curve, chart
from gateway.replay.comparison import Replayed, rows
from gateway.replay.outcome import Course

_BLUE, _ORANGE, _GREEN, _RED, _GREY, _VIOLET = (
    "#2563eb", "#ea580c", "#059669", "#dc2626", "#6b7280", "#7c3aed",
)  # fmt: skip
_COLOURS = {"reserved": _BLUE, "serverless": _ORANGE, "rule_of_thumb": _GREY}

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#111827;background:#fff}
h1{font-size:1.4rem}h2{font-size:1rem;margin:1.6rem 0 0}small{color:#6b7280;font-weight:400}
p{margin:.2rem 0}table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #e5e7eb}
th:first-child,td:first-child{text-align:left}
svg{width:100%;height:auto}svg line{stroke:#e5e7eb}svg text{font-size:11px;fill:#6b7280}
svg path{stroke-width:1.3}.end{text-anchor:end}.middle{text-anchor:middle}
.learned{fill:#f3f4f6}span{margin-right:1rem}
i{display:inline-block;width:.7rem;height:.7rem;margin-right:.35rem;border-radius:2px}
"""


def page(found: Replayed) -> str:
    """The whole document."""
    title = f"{found.traffic.name} on {found.platform.name}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(_about(found))}</p>",
        _table(found),
        *_charts(found),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>{''.join(body)}</html>\n"
    )


def _about(found: Replayed) -> str:
    platform, traffic = found.platform, found.traffic
    return (
        f"{found.meant.calls:,} calls in {traffic.judged_s / 3600:.1f} hours; a call may wait "
        f"{traffic.slo_s:g} s. Reserved ${platform.reserved_per_hour:g} an hour, {platform.name} "
        f"${platform.per_s:g} a second. What is shaded was learned from, and is not judged."
    )


def _table(found: Replayed) -> str:
    heads, lines = rows(found)
    return f"<table>{_line(heads, 'th')}{''.join(_line(line, 'td') for line in lines)}</table>"


def _line(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _charts(found: Replayed) -> list[str]:
    course = found.meant.course
    if course is None:
        return []
    end = course.start + course.step_s * len(course.load)
    axis = Axis(course.start, end, course.judged_from)
    workers = [Curve("load", _GREY, course.load, filled=True)]
    workers += [Curve("reserved", _BLUE, course.reserved)]
    workers += [Curve("overflow, starting ones included", _ORANGE, course.overflow)]
    waits = [Curve("waited for a start", _VIOLET, course.cold), Curve("late", _RED, course.late)]
    return [
        chart("Load and baseline", "calls and workers", workers, axis),
        chart("Cold and late calls", f"in steps of {course.step_s:.0f} s", waits, axis),
        chart("Cost", "US dollars, summed up over the judged part", _costs(found), axis),
    ]


def _costs(found: Replayed) -> list[Curve]:
    lines = [
        Curve(name.replace("_", " "), _COLOURS.get(name, _VIOLET), _summed(one.course))
        for name, one in found.beside.items()
        if one.course is not None
    ]
    # A fleet that is far dearer would press the others to the ground.
    most = 3 * found.meant.usd
    lines = [line for line in lines if line.points[-1] <= most]
    assert found.meant.course is not None
    name = "planned" if found.policy is None else "the policy"
    return [*lines, Curve(name, _GREEN, _summed(found.meant.course))]


def _summed(course: Course) -> list[float]:
    judged = (
        usd if course.start + number * course.step_s >= course.judged_from else 0.0
        for number, usd in enumerate(course.cost)
    )
    return list(itertools.accumulate(judged))
