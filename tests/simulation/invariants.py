"""What holds at the end of every seed, however it went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from adapters.errors import FailureClass, Ran
from gateway.calls.top_up import PATIENCE_S
from gateway.shared_timer import EVERY_S
from gateway.storage.base import Claim, LedgerRow, SharedStore
from gateway.types import MICRO, NANO
from tests.simulation.callers import Caller
from tests.simulation.gateways import GatewayProcess
from tests.simulation.jobs.invariants import beyond_holds, is_job
from tests.simulation.jobs.invariants import violations as job_violations
from tests.simulation.platforms import INPUT_TOKENS
from tests.simulation.policies import HOURLY_USD
from tests.simulation.shared_server import at_once
from tests.simulation.world import EPOCH, NOON, World

LONGEST_S = 60.0
"""No call takes longer, whatever fails: 24 seconds of its own, one to be stopped, ten to stop what
runs elsewhere, and what stores may take."""
_HUGE = 1 << 60
_WAITS_FOR_ROOM_S = 12.0
"""How long a call may wait for room in a limit, which another policy may give it."""
_SETTLES_S = 2.5
"""What both stores may take for it, and for the sums that fill one of them."""
_NOTHING_RAN = frozenset(one.slug for one in FailureClass if one.ran is Ran.NO)
_USED_IN_VAIN = frozenset(("cancelled", "disconnected", "error", "success"))


def violations(world: World) -> list[str]:
    """Everything that does not hold, in words; empty where all does."""
    return [
        *world.blamed,
        *world.loop.trouble,
        *_late(world),
        *_untrue_answers(world),
        *_bad_rows(world),
        *_wrong_charges(world),
        *_wrong_bills(world),
        *_leaks(world),
        *_miscounted(world),
        *_passed_caps(world),
        *_too_much_machine(world),
        *job_violations(world),
    ]


def _late(world: World) -> Iterator[str]:
    """Every call ends, in its time."""
    for caller in world.callers:
        if caller.ended_at is None:
            yield f"{caller.call.id} never ended"
        elif caller.ended_at - caller.began_at > LONGEST_S:
            yield f"{caller.call.id} took {caller.ended_at - caller.began_at:.1f} s"


# --- answers and rows -----------------------------------------------------------------------------


def _untrue_answers(world: World) -> Iterator[str]:
    """A client saw a whole answer exactly where one row says that the call succeeded."""
    for caller in world.callers:
        row = world.ledger.settled.get(caller.call.id)
        outcome = "" if row is None else row.outcome
        seen = caller.seen
        if seen == "whole" and outcome != "success" and not _may_be_interrupted(world, caller, row):
            yield f"{caller.call.id} was answered, and its row says {outcome or 'nothing'}"
        elif (
            row is not None
            and outcome == "success"
            and seen != "whole"
            and not _may_have_missed(caller)
            and not _was_in_doubt(caller, row)
        ):
            yield f"{caller.call.id} has a row of a success, and its client saw {seen}"
        elif seen == "promised" and row is None and not _has_died(caller):
            yield f"{caller.call.id} was promised, and has no row"
        elif (
            seen == "cut"
            and not _may_have_missed(caller)
            and b'"error"' not in caller.connection.body
        ):
            yield f"{caller.call.id} was cut without a word"
        elif seen == "nothing" and not _may_have_missed(caller):
            yield f"{caller.call.id} was told nothing"


def _may_be_interrupted(world: World, caller: Caller, row: LedgerRow | None) -> bool:
    """Its settlement waited for the ledger, and its gateway died, or was taken for dead."""
    if row is None or row.outcome != "interrupted":
        return False
    return _has_died(caller) or row.id in world.ledger.taken


def _has_died(caller: Caller) -> bool:
    return caller.by is not None and not caller.by.process.is_alive


def _may_have_missed(caller: Caller) -> bool:
    """It hung up, or its gateway died, or it was promised the work and saw that."""
    return caller.connection.hung_up.is_set() or _has_died(caller) or caller.seen == "promised"


def _was_in_doubt(caller: Caller, row: LedgerRow) -> bool:
    """The ledger did not say whether it had written the row of a call that bought nothing, and the
    client was told so."""
    bought_nothing = row.backend in ("home", "free")
    return bought_nothing and b"store_unavailable" in caller.connection.body


def _bad_rows(world: World) -> Iterator[str]:
    """Every row is settled, once, and is of a call that was made."""
    ledger, made = world.ledger, {caller.call.id for caller in world.callers}
    yield from (f"{id} is still open" for id in ledger.opened)
    yield from (f"{id} was settled twice" for id in ledger.doubled if id not in ledger.taken)
    for row in ledger.settled.values():
        is_of_a_call = row.kind in ("call", "attempt") and not is_job(row.id)
        if is_of_a_call and row.id.partition("#")[0] not in made:
            yield f"{row.id} is the row of no call"
        if row.cost_nano < 0 or row.gpu_us < 0:
            yield f"{row.id} costs {row.cost_nano}"


def _wrong_charges(world: World) -> Iterator[str]:
    """Nothing is charged for what did not run, and what was stated is charged as stated."""
    for row in world.ledger.settled.values():
        if row.kind not in ("call", "attempt"):
            continue
        if row.outcome == "interrupted":
            # What a job's attempts before have spent is known, and is not held any more.
            most, least = row.hold_nano, 0 if is_job(row.id) else row.hold_nano
            if not least <= row.cost_nano <= most:
                yield f"{row.id} was interrupted, and charged otherwise than it was held"
            continue
        works = world.platforms[row.backend].works[row.id.partition("#")[0]] if row.backend else []
        if row.cost_nano and not works:
            yield f"{row.id} is charged {row.cost_nano}, and was never asked"
        elif row.cost_nano and row.error in _NOTHING_RAN:
            yield f"{row.id} is charged {row.cost_nano}, and did not run: {row.error}"
        elif row.outcome == "success" and works and works[-1].stated:
            asked = _price_of(row, works[-1].tokens)
            if asked is not None and row.cost_nano != asked:
                yield f"{row.id} is charged {row.cost_nano}, and its platform asked {asked}"


def _price_of(row: LedgerRow, tokens: int) -> int | None:
    """Nano-dollars that the platform asks, where that depends on nothing but the call."""
    if row.backend == "fee":
        return NANO // 20
    if row.backend == "tokens":
        return (INPUT_TOKENS * 1000 + tokens * 3000) * NANO // 1_000_000
    return 0 if row.backend == "free" else None


def _wrong_bills(world: World) -> Iterator[str]:
    """What users and overhead are charged for an hour of the machine is the hour's bill; and what a
    cold start cost is in one row, whoever pays for it."""
    rows = tuple(world.ledger.settled.values())
    if world.knobs.idle:
        hour = [row for row in rows if row.backend == "home" and row.started_at < NOON]
        charged = sum(row.cost_nano for row in hour)
        if charged != HOURLY_USD * NANO:
            yield f"an hour of {HOURLY_USD} USD was charged {charged} nano-dollars"
    for row in rows:
        if row.reason == "cold_start":
            call = world.ledger.settled.get(row.id.removeprefix("start_"))
            if call is None or not call.cold_us or row.cost_nano <= 0:
                yield f"{row.id} is charged {row.cost_nano} for a start that nobody waited for"


# --- what is held ---------------------------------------------------------------------------------


def _leaks(world: World) -> Iterator[str]:
    """At rest nothing is held anywhere, and nobody has a place."""
    for name, store in _stores(world):
        for _ in range(8):  # it drops so many at once
            at_once(store.statuses(_claims(world)))
        if "(0 holds," not in repr(store):
            yield f"the shared store of {name} still has {store!r}"
        for status in at_once(store.statuses(_places())):
            if status.remaining != _HUGE:
                yield f"{status.claim.scope} has {_HUGE - status.remaining} places for ever"
    for one in world.gateways:
        if one.serves:
            yield from _left_in(one)
    for platform in world.platforms.values():
        if platform.visits:
            yield f"{platform.name} still has {len(platform.visits)} calls"


def _left_in(one: GatewayProcess) -> Iterator[str]:
    gateway, name = one.gateway, one.process.name
    assert gateway is not None
    if gateway.dispatcher.held:
        yield f"{name} still holds {gateway.dispatcher.held} calls"
    if gateway.settler.waiting:
        yield f"{name} has {gateway.settler.waiting} settlements that wait"
    for backend in gateway.active.backends.values():
        if backend.in_flight:
            yield f"{name} has {backend.in_flight} calls at {backend.name} for ever"


def _stores(world: World) -> Iterable[tuple[str, SharedStore]]:
    if world.shared is not None:
        return [("all", world.shared.store)]
    return [
        (one.process.name, one.gateway.shared)
        for one in world.gateways
        if one.serves and one.gateway is not None
    ]


def _claims(world: World) -> list[Claim]:
    return [Claim(scope, "nano_usd", "day", _HUGE, 0) for scope in _all_caps(world)]


def _places() -> list[Claim]:
    return [Claim(f"user:{user}", "concurrent", "", _HUGE, 0) for user in ("alice", "bob")]


def _all_caps(world: World) -> list[str]:
    return sorted({scope for change in world.changes for scope in change.knobs.caps()})


def _miscounted(world: World) -> Iterator[str]:
    """What the shared store says was spent is what the rows say, in every scope that a limit is in
    force for. Of a call that was interrupted it may know better than its row, which has what was
    held; what was being settled while it was filled it may count twice; and it counts a call whose
    gateway died while nobody knew whether its row was written. But never less than the rows."""
    rows = tuple(world.ledger.settled.values())
    sums = _sums(rows)
    less = _sums(row for row in rows if row.outcome == "interrupted")
    more = _sums(_as_settled(world, row) for row in rows if _was_under_way(world, row))
    for scope, nano in (*_died_in_doubt(world), *_begun_again(world), *_failed_in_vain(world)):
        more[scope] += nano
    in_force = world.knobs.caps()
    for name, store in _stores(world):
        claims = [claim for claim in _claims(world) if claim.scope in in_force]
        for status in at_once(store.statuses(claims)):
            scope, counted = status.claim.scope, _HUGE - status.remaining
            if not sums[scope] - less[scope] <= counted <= sums[scope] + more[scope]:
                yield f"{scope} has spent {sums[scope]}, and {name} counts {counted}"


def _as_settled(world: World, row: LedgerRow) -> LedgerRow:
    """What the shared store was told of it may be more: the row of a call that was topped up, and
    whose gateway was taken for dead, has what was held at first."""
    settled = {} if world.shared is None else world.shared.settled
    return msgspec.structs.replace(row, cost_nano=max(row.cost_nano, settled.get(row.id, 0)))


def _died_in_doubt(world: World) -> Iterator[tuple[str, int]]:
    """(scope, nano-dollars) of calls that bought nothing, were settled, and have no row."""
    settled = {} if world.shared is None else world.shared.settled
    for caller in world.callers:
        if caller.call.id not in world.ledger.settled and _has_died(caller):
            who = caller.call.principal
            for scope in (f"user:{who.user}", f"plan:{who.plan}", "gateway"):
                yield scope, settled.get(caller.call.id, 0)


def _begun_again(world: World) -> Iterator[tuple[str, int]]:
    """(scope, nano-dollars) that limits count of jobs whose gateway died between their two
    settlements, and which another one began again: their rows say what that run cost."""
    settled = {} if world.shared is None else world.shared.settled
    for row in world.ledger.settled.values():
        if is_job(row.id) and settled.get(row.id, 0) > row.cost_nano:
            for scope in _scopes(row):
                yield scope, settled[row.id] - row.cost_nano


def _failed_in_vain(world: World) -> Iterator[tuple[str, int]]:
    """(scope, nano-dollars) that a backend's own limit counts of what failed there: its call's
    gateway died before there were rows, and the call's own has all that was held."""
    settled = {} if world.shared is None else world.shared.settled
    for hold_id, nano in settled.items():
        id, _, place = hold_id.partition("@")
        row = world.ledger.settled.get(id)
        if place and (row is None or row.outcome == "interrupted"):
            yield f"backend:{place.partition('.')[0]}", nano


def _was_under_way(world: World, row: LedgerRow) -> bool:
    """Its settlement may not have come to the shared store before somebody filled that."""
    ended = row.ended_at or 0.0
    filled = any(ended <= at <= ended + _SETTLES_S for at in world.fills)
    return filled or any(begin <= ended < end for begin, end in _silences(world, 5.0))


def _silences(world: World, after_s: float) -> list[tuple[float, float]]:
    """When the shared store did not answer, in seconds since 1970, and some time after."""
    return [
        (EPOCH + fault.at_s, EPOCH + fault.at_s + fault.lasts_s + after_s)
        for fault in world.faults
        if fault.what.startswith("shared")
    ]


def _sums(rows: Iterable[LedgerRow]) -> defaultdict[str, int]:
    sums: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        for scope in _scopes(row):
            sums[scope] += row.cost_nano
    return sums


def _scopes(row: LedgerRow) -> tuple[str, ...]:
    if row.kind == "idle":
        return ()
    return (f"user:{row.user}", f"plan:{row.plan}", "gateway", f"backend:{row.backend}")


# --- limits ---------------------------------------------------------------------------------------


def _passed_caps(world: World) -> Iterator[str]:
    """Whatever has begun under a limit fits into what the limit had left then: of a call that was
    interrupted what it used, where the limit knows that."""
    known = {} if world.shared is None else world.shared.settled

    def cost(row: LedgerRow) -> int:
        interrupted = row.outcome == "interrupted"
        return known.get(row.id, row.cost_nano) if interrupted else row.cost_nano

    rows = [row for row in world.ledger.settled.values() if row.kind in ("call", "attempt")]
    changes = world.changes
    for scope in _all_caps(world):
        mine = [row for row in rows if scope in _scopes(row)]
        for index, change in enumerate(changes):
            after = changes[index + 1] if index + 1 < len(changes) else change
            until = after.at if after is not change else float("inf")
            held_by = [one for one in changes[index:] if one.at <= until + _WAITS_FOR_ROOM_S]
            caps = [one.knobs.caps().get(scope, _HUGE) for one in held_by]
            before = sum(cost(row) for row in mine if row.started_at < change.at)
            since = sum(cost(row) for row in mine if change.at <= row.started_at < until)
            allowed = (
                max(0, max(caps) - before) + _patience(world, mine) + beyond_holds(world, mine)
            )
            if since > allowed:
                yield f"{scope}: {since} spent past {before} on a cap of {max(caps)}"


def _patience(world: World, rows: Iterable[LedgerRow]) -> int:
    """Nano-dollars that calls may cost past what is held for them, since the shared store did not
    answer when they asked for more: ten seconds of each that ran then."""
    silent = _silences(world, 2 * PATIENCE_S)
    dearest = max(change.knobs.per_second for change in world.changes)
    rates = {"home": 0.01, "burst": dearest, "depot": 0.01}
    meanwhile = (
        rates.get(row.backend, 0.0)
        for row in rows
        if any(row.started_at < end and (row.ended_at or 0) > begin for begin, end in silent)
    )
    return round(sum(meanwhile) * (PATIENCE_S + 2 * EVERY_S) * NANO)


def _too_much_machine(world: World) -> Iterator[str]:
    """The parts that calls have of a machine add up to no more than the time in which it was
    busy."""
    spans = world.platforms["home"].spans
    busy_s = sum(
        _length(span[1:] for span in spans if span[0] == name) for name in {one[0] for one in spans}
    )
    rows = [
        row
        for row in world.ledger.settled.values()
        if row.backend == "home" and not is_job(row.id)  # of which a slot is taken sooner
    ]
    used_s = sum(row.gpu_us for row in rows if row.outcome in _USED_IN_VAIN) / MICRO
    if used_s > busy_s + 1e-3:
        yield f"home was busy for {busy_s:.6f} s, of which calls used {used_s:.6f}"


def _length(spans: Iterable[tuple[float, float]]) -> float:
    """Of what they cover together."""
    length, end = 0.0, float("-inf")
    for begins, ends in sorted(spans):
        length += max(0.0, ends - max(begins, end))
        end = max(end, ends)
    return length
