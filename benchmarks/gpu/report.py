"""What was measured, as text, Markdown or JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.gateway.table import Draw, Row, insert, marked, number, plain
from benchmarks.gpu.cold import Start
from benchmarks.gpu.overhead import Overhead
from benchmarks.gpu.sweep import Point

BEGIN = "<!-- gpu figures: begin, written by python -m benchmarks.gpu --markdown -->"
END = "<!-- gpu figures: end -->"
POINTS = ("model", "mode", "batch", "ms", "p90 ms", "rows/s", "ready s", "peak MiB")
PARTS = ("imports", "device", "weights", "first", "second")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One whole run; what was left out is empty."""

    date: str
    machine: str
    device: str
    versions: str
    size: str
    dtype: str
    points: tuple[Point, ...] = ()
    starts: tuple[Start, ...] = ()
    overhead: Overhead | None = None
    trouble: tuple[str, ...] = ()
    """What could not be measured, and why."""


def as_text(report: Report) -> str:
    return "\n".join(_sections(report, plain))


def as_markdown(report: Report) -> str:
    return "\n".join([BEGIN, "", *_sections(report, marked), "", END])


def written(page: str, report: Report) -> str:
    """The page with the report between its two marks."""
    return insert(page, as_markdown(report), BEGIN, END)


def _sections(report: Report, draw: Draw) -> list[str]:
    lines = [
        f"{report.date}; {report.device}; {report.machine}.",
        f"{report.versions}; models of size {report.size}, "
        f"batches in {report.dtype}, all else in float32.",
    ]
    if report.points:
        lines += ["", *draw(POINTS, [_point(point) for point in report.points])]
    if report.starts:
        lines += ["", *draw(("cold start", *(f"{part} s" for part in PARTS)), [_start(report)])]
    if report.overhead:
        lines += ["", *_overhead(report.overhead, draw)]
    return lines + [line for trouble in report.trouble for line in ("", trouble)]


def _point(point: Point) -> Row:
    return (
        point.model,
        point.mode,
        str(point.batch),
        number(point.ms),
        number(point.p90_ms),
        number(point.rows_per_s),
        number(point.ready_s),
        "–" if point.peak_mib is None else number(point.peak_mib),
    )


def _start(report: Report) -> Row:
    medians = [_median([getattr(start, part) for start in report.starts]) for part in PARTS]
    return (f"encoder, median of {len(report.starts)}", *(f"{value:.3f}" for value in medians))


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _overhead(overhead: Overhead, draw: Draw) -> list[str]:
    columns = ("encoder", "ms of a lone call", f"rows/s, {overhead.callers} at once")
    rows = [
        ("the handler by itself", number(overhead.bare_ms), number(overhead.bare_rows_per_s)),
        ("through a worker", number(overhead.through_ms), number(overhead.through_rows_per_s)),
        (
            "difference",
            f"{overhead.added_ms:+.2f}",
            f"x {overhead.through_rows_per_s / overhead.bare_rows_per_s:.2f}",
        ),
    ]
    return draw(columns, rows)
