"""The report as text, for a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from benchmarks.gateway.figures import Alone, Check, Figures, Large, Spread, spread

BEGIN = "<!-- figures: begin, written by python -m benchmarks.gateway --markdown -->"
END = "<!-- figures: end -->"
COLUMNS = (
    "contender",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "CPU µs",
    "worker µs",
    "added ms",
    "PSS MiB",
    "streams",
    "CPU µs/delta",
)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One whole run."""

    date: str
    machine: str
    versions: dict[str, str]
    settings: str
    figures: tuple[Figures, ...]
    alone: Alone | None
    checks: tuple[Check, ...]
    setups: tuple[tuple[str, Spread], ...] = ()
    """Of Spillgate: CPU a call beside the plain one's."""
    trouble: tuple[str, ...] = ()
    """What could not be measured, and why."""


Row = Sequence[str]
Draw = Callable[[Row, Sequence[Row]], list[str]]


def number(value: float) -> str:
    """Three significant digits or so, thousands parted."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ranged(value: Spread) -> str:
    if value.low == value.high:
        return number(value.median)
    return f"{number(value.median)} ({number(value.low)}–{number(value.high)})"


def contender_row(figures: Figures) -> Row:
    if figures.error:
        word = "missing" if figures.missing else "failed"
        return (figures.name, word, *[""] * (len(COLUMNS) - 2))
    rounds = figures.rounds
    added = [one.added_ms for one in rounds if one.added_ms is not None]
    alone = figures.name == "direct"
    return (
        figures.name + _failures(figures),
        ranged(spread([one.per_second for one in rounds])),
        ranged(spread([one.p50_ms for one in rounds])),
        ranged(spread([one.p99_ms for one in rounds])),
        "–" if alone else ranged(spread([one.cpu_us for one in rounds])),
        ranged(spread([one.apart_us for one in rounds])) if rounds[0].apart_us else "–",
        "–" if alone or not added else ranged(spread(added)),
        "–" if alone else number(figures.pss_mib),
        _streams(figures),
        "–" if alone or figures.delta_us is None else number(figures.delta_us),
    )


def _failures(figures: Figures) -> str:
    failed = sum(one.failed for one in figures.rounds)
    return f" ({failed} failed)" if failed else ""


def _streams(figures: Figures) -> str:
    """A plus says that the greatest level tried was carried too, a ``<`` that the least was not."""
    most = figures.smooth_streams
    if most is None:
        return "–"
    if most == 0:
        return f"<{figures.levels[0].streamed.streams}"
    return f"{most}+" if figures.levels[-1].streamed.smooth else str(most)


def check_row(check: Check) -> Row:
    sign = "≥" if check.at_least else "≤"
    bounds = (f"{sign} {number(check.limit)}", f"{sign} {number(check.aim)}")
    return (check.what, ranged(check.value), check.unit, *bounds, check.verdict)


def alone_lines(alone: Alone) -> list[str]:
    return [
        f"Spillgate alone: resident {alone.idle_mib:.1f} MiB when ready, {alone.warm_mib:.1f} MiB "
        f"once warm, {alone.after_mib:.1f} MiB after {alone.calls:,} calls; ready "
        f"{ranged(spread(alone.ready_s))} s after the process starts{_cpu(alone.ready_cpu_s)}; "
        f"importing gateway.app takes {ranged(spread(alone.import_s))} s{_cpu(alone.import_cpu_s)}."
    ]


def _cpu(seconds: Sequence[float]) -> str:
    return f" ({ranged(spread(seconds))} s of CPU)" if seconds else ""


def heading(report: Report) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return [f"{report.date}; {report.machine}.", f"{versions}.", f"{report.settings}."]


def plain(columns: Row, rows: Sequence[Row]) -> list[str]:
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (columns, *rows)
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def marked(columns: Row, rows: Sequence[Row]) -> list[str]:
    """A Markdown table."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (columns, rule, *rows)]


LARGE = ("contender", "256 KiB body", "added", "256 KiB answer", "added")
SETUPS = ("what is on", "CPU a call, x spillgate")


def large_row(figures: Figures) -> Row:
    """CPU in us, and what of it is more than that of a small call."""

    def shown(read: Callable[[Large], float]) -> str:
        return ranged(spread([read(one) for one in figures.large]))

    return (
        figures.name,
        shown(lambda one: one.body_us),
        shown(lambda one: one.body_added_us),
        shown(lambda one: one.answer_us),
        shown(lambda one: one.answer_added_us),
    )


CHECKS = ("target", "measured", "unit", "limit", "aim", "verdict")


def as_text(report: Report) -> str:
    return "\n".join(_sections(report, plain))


def as_markdown(report: Report) -> str:
    return "\n".join([BEGIN, "", *_sections(report, marked), "", END])


def _sections(report: Report, draw: Draw) -> list[str]:
    lines = [*heading(report), ""]
    lines += draw(COLUMNS, [contender_row(one) for one in report.figures])
    large = [large_row(one) for one in report.figures if one.large]
    if large:
        lines += ["", "CPU µs a call:", "", *draw(LARGE, large)]
    if report.setups:
        lines += ["", *draw(SETUPS, [(name, ranged(value)) for name, value in report.setups])]
    if report.checks:
        lines += ["", *draw(CHECKS, [check_row(one) for one in report.checks])]
    if report.alone:
        lines += ["", *alone_lines(report.alone)]
    for one in report.figures:
        for error in filter(None, (one.error, one.large_error)):
            lines += ["", f"{one.name}: {error}"]
    return lines + [line for trouble in report.trouble for line in ("", trouble)]


def insert(page: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """``page`` with the block between its two marks replaced; without marks, at its end."""
    before, begun, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        return f"{page.rstrip()}\n\n{block}\n"
    return before + block + after
