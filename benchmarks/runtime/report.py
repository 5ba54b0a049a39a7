"""What was measured, as a table and against its targets."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.gateway.figures import Check, Spread, ratio, spread
from benchmarks.gateway.table import CHECKS, Draw, Row, check_row, marked, number, plain, ranged
from benchmarks.runtime.alone import Alone
from benchmarks.runtime.measure import Figures

BEGIN = "<!-- runtime figures: begin, written by python -m benchmarks.runtime --markdown -->"
END = "<!-- runtime figures: end -->"
OURS = "spillgate"
COLUMNS = ("contender", "requests/s", "p50 ms", "p99 ms", "CPU µs", "RSS MiB", "processes", "ratio")
RATIOS = {
    "litserve": ("LitServe", 8.0, 10.0),
    "bentoml": ("BentoML", 10.0, 15.0),
    "ray-serve": ("Ray Serve", 4.0, 6.0),
    "mosec": ("mosec", 1.2, 2.0),
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One whole run."""

    date: str
    machine: str
    versions: dict[str, str]
    settings: str
    figures: tuple[Figures, ...]
    alone: Alone | None


def checks(report: Report) -> list[Check]:
    """Every target for which the run has the figures."""
    by_name = {one.name: one for one in report.figures if one.rounds}
    found = []
    for name, (words, limit, aim) in RATIOS.items():
        if name in by_name and OURS in by_name:
            value = times(by_name[OURS], by_name[name])
            unit = f"x {words}"
            found.append(
                Check(
                    what="requests/s", value=value, limit=limit, aim=aim, unit=unit, at_least=True
                )
            )
    return found + (_alone(report.alone) if report.alone else [])


def times(ours: Figures, other: Figures) -> Spread:
    """How many times the other's requests/s, round by round."""
    return ratio(*([one.per_second for one in each.rounds] for each in (ours, other)))


def _alone(alone: Alone) -> list[Check]:
    framed = spread([one.framed_ms for one in alone.unloaded])
    http = spread([one.http_ms for one in alone.unloaded])
    server = spread([one.http_ms - one.framed_ms for one in alone.unloaded])
    most = spread([max(alone.resident_mib.values())])
    saturated = "lost by a saturated device"
    return [
        Check(what=saturated, value=spread(alone.overheads), limit=3, aim=1, unit="%"),
        Check(what="added unloaded, framed socket", value=framed, limit=0.5, aim=0.25, unit="ms"),
        Check(what="added unloaded, HTTP", value=http, limit=0.5, aim=0.25, unit="ms"),
        Check(what="of that the server's own", value=server, limit=0.15, aim=0.1, unit="ms"),
        Check(what="largest process, no torch", value=most, limit=60, aim=60, unit="MiB resident"),
        *(_restart(standby, spread(seconds)) for standby, seconds in alone.restarts_s.items()),
    ]


def _restart(standby: str, seconds: Spread) -> Check:
    what = f"killed to serving, standby: {standby}"
    return Check(what=what, value=seconds, limit=1.0, aim=0.3, unit="s beyond the model")


def row(figures: Figures, ours: Figures | None) -> Row:
    if figures.error:
        return (figures.name, "failed", *[""] * (len(COLUMNS) - 2))
    rounds = figures.rounds
    failed = sum(one.failed for one in rounds)
    return (
        figures.name + (f" ({failed} failed)" if failed else ""),
        ranged(spread([one.per_second for one in rounds])),
        ranged(spread([one.p50_ms for one in rounds])),
        ranged(spread([one.p99_ms for one in rounds])),
        ranged(spread([one.cpu_us for one in rounds])),
        number(figures.rss_mib),
        str(figures.processes),
        "–" if ours is None or not ours.rounds else ranged(times(ours, figures)),
    )


def as_text(report: Report) -> str:
    return "\n".join(_sections(report, plain))


def as_markdown(report: Report) -> str:
    return "\n".join([BEGIN, "", *_sections(report, marked), "", END])


def _sections(report: Report, draw: Draw) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines = [f"{report.date}; {report.machine}.", f"{versions}.", f"{report.settings}.", ""]
    ours = next((one for one in report.figures if one.name == OURS), None)
    lines += draw(COLUMNS, [row(one, ours) for one in report.figures])
    lines += ["", *draw(CHECKS, [check_row(one) for one in checks(report)])]
    lines += ["", *_words(report.alone)] if report.alone else []
    return lines + _errors(report.figures)


def _words(alone: Alone) -> list[str]:
    bare = ranged(spread([one.bare_ms for one in alone.unloaded]))
    each = ", ".join(f"{name} {mib:.1f}" for name, mib in sorted(alone.resident_mib.items()))
    return [
        f"A bare call of the model takes {bare} ms. Resident without torch, in MiB: {each}.",
    ]


def _errors(figures: Sequence[Figures]) -> list[str]:
    return [line for one in figures if one.error for line in ("", f"{one.name}: {one.error}")]
