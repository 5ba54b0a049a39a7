"""What ``spillgate probe`` asks of a backend, and how it shows what it found."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import msgspec

from adapters import base, package_of
from adapters.base import Backend
from adapters.errors import BackendError
from adapters.types import Assumption, Call, Probe, Usage
from gateway.cli.backends import price_check as asking
from gateway.cli.backends.price_check import PriceAnswer
from gateway.clock import Clock
from gateway.money.price_comparison import figures_of, unit_of
from gateway.money.pricing import Estimate, Expectation, charge, estimate
from gateway.money.text import usd
from gateway.policy.model import BackendSpec
from gateway.policy.sections.price import Price

_START_WITHIN_S = 60.0
_ABILITIES = {
    "cancel": base.Cancellable,
    "ping": base.Warmable,
    "keep_workers": base.Scalable,
    "jobs": base.LongRunning,
    "follow": base.Streaming,
    "bill": base.Billed,
    "asked_prices": base.Priced,
}
_VERDICT = {True: "yes", False: "NO", None: "?"}


class MeasuredCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call that was made. Seconds, and nano-dollars by the policy's price."""

    model: str
    seconds: float
    usage: Usage
    cost_nano: int
    failure: str = ""


class ProbeFindings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a probe of one backend has found."""

    spec: BackendSpec
    price: Price | None
    package: str | None
    abilities: tuple[str, ...]
    probe: Probe
    assumptions: tuple[Assumption, ...]
    warm: Estimate
    cold: Estimate
    asked: PriceAnswer | None
    """What the platform asks today; None for a kind whose platform says nothing."""
    today: datetime.date
    call: MeasuredCall | None

    @property
    def well(self) -> bool:
        """Whether nothing that was asked was answered with no. Cold is well; not to be reached
        is not."""
        refuted = any(one.holds is False for one in self.assumptions)
        unasked = bool(self.assumptions) and all(one.holds is None for one in self.assumptions)
        silent = not self.assumptions and not self.probe.ready
        failed = self.call is not None and bool(self.call.failure)
        return not (refuted or unasked or silent or failed)


async def ask_all(
    backend: Backend, spec: BackendSpec, price: Price | None, call: Call | None, clock: Clock
) -> ProbeFindings:
    """A started backend's probe, its assumptions and, where there is one, the call."""
    await _until_it_has_slots(backend, clock)
    probe = await backend.probe()
    assumed = await backend.assumptions() if isinstance(backend, base.ChecksAssumptions) else ()
    return ProbeFindings(
        spec=spec,
        price=price,
        package=package_of(spec.kind),
        abilities=tuple(name for name, kind in _ABILITIES.items() if isinstance(backend, kind)),
        probe=probe,
        assumptions=tuple(assumed),
        warm=estimate(price, _expected(spec, 0.0)),
        cold=estimate(price, _expected(spec, _cold_s(spec))),
        asked=await asking.ask(backend),
        today=datetime.datetime.fromtimestamp(clock.time(), datetime.UTC).date(),
        call=None if call is None else await _measure(backend, call, price, spec, clock),
    )


async def _until_it_has_slots(backend: Backend, clock: Clock) -> None:
    """Workers of this machine load their model first."""
    end = clock.monotonic() + _START_WITHIN_S
    while backend.slots == 0 and clock.monotonic() < end:
        await clock.sleep(0.1)


async def _measure(
    backend: Backend, call: Call, price: Price | None, spec: BackendSpec, clock: Clock
) -> MeasuredCall:
    """Raises nothing: a failure is what was measured."""
    started = clock.monotonic()
    timed = msgspec.structs.replace(call, deadline=started + spec.common.max_run)
    failure = ""
    try:
        usage = (await backend.invoke(timed)).usage
    except BackendError as error:
        usage, failure = error.usage or Usage(), f"{error.failure.slug}: {error.message}"
    if usage.gpu_s is None:
        usage = msgspec.structs.replace(usage, gpu_s=usage.exec_s)
    return MeasuredCall(
        model=call.model,
        seconds=clock.monotonic() - started,
        usage=usage,
        cost_nano=charge(price, usage),
        failure=failure,
    )


def _cold_s(spec: BackendSpec) -> float:
    return spec.common.cold_start.p50 if spec.common.cold_start else 0.0


def _expected(spec: BackendSpec, cold_s: float) -> Expectation:
    return Expectation(
        exec_s=spec.common.expect,
        exec_high_s=spec.common.expect,
        cold_s=cold_s,
        input_tokens=0,
        input_high_tokens=0,
        output_tokens=0,
    )


# --- shown --------------------------------------------------------------------------------------


def as_json(found: ProbeFindings) -> dict[str, Any]:
    """Everything that was found, in the units of the command's page: seconds, US dollars."""
    probe, call, asked = found.probe, found.call, found.asked
    return {
        "backend": found.spec.name,
        "kind": found.spec.kind,
        "package": found.package,
        "well": found.well,
        **{name: getattr(probe, name) for name in probe.__struct_fields__},
        "abilities": list(found.abilities),
        "assumptions": [msgspec.structs.asdict(one) for one in found.assumptions],
        "expected": {
            "run_seconds": found.spec.common.expect,
            "cold_seconds": _cold_s(found.spec),
            "warm_usd": usd(found.warm.charge),
            "cold_usd": usd(found.cold.charge),
        },
        "asked": asked and asking.as_json(asked, found.spec, found.price, found.today),
        "call": None if call is None else _measured_json(call),
    }


def _measured_json(call: MeasuredCall) -> dict[str, Any]:
    return {
        "model": call.model,
        "seconds": round(call.seconds, 6),
        "usage": msgspec.to_builtins(call.usage),
        "usd": usd(call.cost_nano),
        "failure": call.failure or None,
    }


def as_text(found: ProbeFindings) -> str:
    """One screen."""
    return "\n".join(f"{name:<10} {text}" for name, text in _lines(found))


def _lines(found: ProbeFindings) -> Iterator[tuple[str, str]]:
    package = f" (from the package {found.package})" if found.package else ""
    yield "backend", f"{found.spec.name}, kind {found.spec.kind}{package}"
    yield "state", _state(found.probe)
    if found.probe.told:
        yield "", found.probe.told
    yield "can", ", ".join(found.abilities) or "answer calls, and no more"
    for one in found.assumptions:
        yield "assumed", f"{_VERDICT[one.holds]:<4} {one.claim}: {one.found}"
    if not found.assumptions:
        yield "assumed", "nothing that this kind could check"
    yield "price", _price(found)
    if found.asked is not None:
        yield from asking.lines_of(found.asked, found.spec, found.price, found.today)
    if found.call is not None:
        yield from _call_lines(found.call)


def _state(probe: Probe) -> str:
    counts = {
        "warm": probe.warm_workers,
        "starting": probe.starting_workers,
        "running": probe.running,
        "queued": probe.queued,
    }
    known = [f"{count} {name}" for name, count in counts.items() if count is not None]
    return ", ".join(["warm" if probe.ready else "not warm", *known])


def _price(found: ProbeFindings) -> str:
    price = found.price
    if price is None:
        return "none in the policy: calls cost nothing"
    rates = [f"${usd(rate)} {unit_of(name)}" for name, rate in figures_of(price)]
    expected = f"a call of {found.spec.common.expect:g} s ${usd(found.warm.charge)}"
    if price.per_million_input is not None or price.per_million_output is not None:
        # How many tokens a call has, nobody knows before it is made.
        expected = "a call by its tokens" + (f", and {expected}" if found.warm.charge else "")
    if found.cold.charge != found.warm.charge:
        expected += f", after a start of {_cold_s(found.spec):g} s ${usd(found.cold.charge)}"
    dated = f", as of {price.as_of}" if price.as_of else ""
    return f"{found.spec.common.price}: {', '.join(rates)}{dated}; {expected}"


def _call_lines(call: MeasuredCall) -> Iterator[tuple[str, str]]:
    if call.failure:
        yield "call", f"FAILED after {call.seconds:.3f} s, {call.failure}"
    else:
        yield "call", f"{call.model} answered in {call.seconds:.3f} s"
    used = call.usage
    seconds = {"queue": used.queue_s, "cold": used.cold_s, "ran": used.exec_s}
    tokens = {"tokens in": used.input_tokens, "tokens out": used.output_tokens}
    timed = [f"{name} {value:.3f} s" for name, value in seconds.items() if value is not None]
    counted = [f"{name} {value}" for name, value in tokens.items() if value is not None]
    by_clock = "the platform's figures" if used.reported else "by our clock"
    parts = [f"{', '.join(timed)} ({by_clock})"] if timed else []
    parts += [f"{', '.join(counted)} (the server's figures)"] if counted else []
    yield "used", "; ".join(parts) or "nobody says"
    by = "by the platform" if used.cost_nano is not None else "by the policy's price"
    yield "cost", f"${usd(call.cost_nano)} {by}"
