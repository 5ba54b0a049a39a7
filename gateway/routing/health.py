"""Who may be asked, by what has failed: blame has a scope, grows with failures in a row, and ends
with the first success. Pure.

    scope             who is kept away               from which failures
      all             every call                     nothing was reached; our key was refused
      (model)         calls of the model             no room, loading, not begun; two callers'
      (model, user)   one caller's calls of it       what his own request may have caused

A rest is ``hard`` or not: while it is not, the backend is still asked where no other can take the
call. Only a failure that no request can have caused makes one hard, so that nobody who writes bad
requests closes a backend for others. A caller is a user, whichever of his keys he shows. When a
rest is over one call is let through; until it has ended the others still see a backend that rests.
What failed a minute ago and has not failed since is forgotten.
"""

from __future__ import annotations

import msgspec

from adapters.errors import BackendError, FailureClass, Fault

FIRST_S, LONGEST_S = 1.0, 60.0
JITTER = 0.2
"""The share by which a rest may be shorter, so that many gateways do not come back at once."""
PATIENCE = 2
"""Failures in a row from which one caller's calls go elsewhere."""
TRIAL_S = 10.0
"""A call that was let through and takes longer lets another one through."""
HEARSAY_S = 3.0
"""A rest that the backend's own good word ends has lasted at least so long: a health page may be
wrong. Of calls that were silent it says little that it said all the while."""
FORGET_S = 60.0
"""Without a failure, and without a rest, after which those before it count no more: two callers who
met the same a day apart are no two witnesses."""

_EVERYWHERE = frozenset((FailureClass.UNREACHABLE, FailureClass.CREDENTIAL))
_LASTING = frozenset((FailureClass.CREDENTIAL, FailureClass.GONE))
"""Failures that only an operator mends."""
_CERTAIN = _EVERYWHERE | {
    FailureClass.GONE,
    FailureClass.OVERLOADED,
    FailureClass.LOADING,
    FailureClass.NOT_STARTED,
}
"""Failures that no request can have caused, where they are the backend's."""

Scope = tuple[str, str]
"""(model, user); an empty user stands for all callers, an empty model for all models."""

ALL: Scope = ("", "")


class ScopeHealth(msgspec.Struct, frozen=True):
    """What has failed in one scope since the last success. Instants are monotonic seconds."""

    failures: int = 0
    """In a row; those of one moment count as one."""
    since: float = 0.0
    """The last that counted."""
    until: float = 0.0
    """Not asked before; 0: failures so far were forgiven."""
    floor: float = 0.0
    """Until when the backend itself asked to be left alone: no good word ends that."""
    hard: bool = False
    """Not even asked where no other backend can take the call."""
    trial_until: float = 0.0
    """One call was let through, and others are not before."""
    digest: int = 0
    """Of the last suspect's body: only a different request counts."""
    cause: str = ""
    """The last failure that counted, by its slug."""
    believed: bool = False
    """A good word has ended a rest from silence, and nothing was answered since."""

    def rests_until(self, now: float) -> float:
        """When the next call is let through; 0 when that is now."""
        latest = max(self.until, self.trial_until)
        return latest if latest > now else 0.0

    def last_of_it(self) -> float:
        """When it was last in doubt."""
        return max(self.since, self.until, self.trial_until)

    def is_due(self, now: float) -> bool:
        """The rest is over, and nobody has tried it since."""
        return 0.0 < self.until <= now and self.trial_until <= now


class Resting(msgspec.Struct, frozen=True):
    """Why a backend should not be asked now."""

    until: float
    hard: bool


class Rest(msgspec.Struct, frozen=True):
    """Calls of one scope that are kept away."""

    model: str
    """Empty: of all models."""
    user: str
    """Empty: whoever sends them."""
    until: float
    """Monotonic seconds; past it one call is let through."""
    hard: bool
    """Even where no other backend can take the call."""
    cause: str
    """The last failure, by its slug."""
    failures: int
    """In a row."""


class Failed(msgspec.Struct, frozen=True):
    """A failure as far as health depends on it."""

    error: BackendError
    model: str
    user: str
    digest: int
    """Of the request's body."""
    trial: bool = False
    """It was the one call that was let through."""
    took_s: float = 0.0
    """Seconds since it was sent: what failed while it was under way is not long ago."""


class BackendHealth(msgspec.Struct, frozen=True):
    """How far a backend is blamed, by scope. One that is healthy has none."""

    scopes: dict[Scope, ScopeHealth] = {}
    failures: int = 0
    """Since the last success, in whatever scope; those under way when a rest began count once."""

    def resting(self, model: str, user: str, now: float) -> Resting | None:
        """Whether a call should go elsewhere."""
        found = [self.scopes[scope] for scope in _over(model, user) if scope in self.scopes]
        ends = [(one.rests_until(now), one.hard) for one in found]
        resting = [(until, hard) for until, hard in ends if until]
        if not resting:
            return None
        return Resting(max(until for until, _ in resting), any(hard for _, hard in resting))

    def resting_for_all(self, now: float) -> Resting | None:
        """The same of any model's calls, whoever sends them: for those who watch it."""
        wide = [one for scope, one in self.scopes.items() if not scope[1] and one.rests_until(now)]
        if not wide:
            return None
        return Resting(max(one.rests_until(now) for one in wide), any(one.hard for one in wide))

    def rests(self, now: float) -> list[Rest]:
        """Who is kept away now, and for how long."""
        each = ((scope, one, one.rests_until(now)) for scope, one in self.scopes.items())
        return [
            Rest(*scope, until, one.hard, one.cause, one.failures)
            for scope, one, until in each
            if until
        ]

    def is_due(self, model: str, user: str, now: float) -> bool:
        """A call sent now would be the one that is let through."""
        return any(self.scopes[s].is_due(now) for s in _over(model, user) if s in self.scopes)


HEALTHY = BackendHealth()


def _over(model: str, user: str) -> tuple[Scope, Scope, Scope]:
    """The scopes that a call is in, widest first."""
    return ALL, (model, ""), (model, user)


def after_failure(health: BackendHealth, failed: Failed, now: float, draw: float) -> BackendHealth:
    """With one failure more. ``draw`` in [0, 1) shortens the rest by as much of ``JITTER``."""
    error = failed.error
    if error.fault in (Fault.REQUEST, Fault.HERE) or error.failure is FailureClass.CANCELLED:
        return after_nothing(health, failed.model, failed.user) if failed.trial else health
    scopes = _remembered(health.scopes, now - failed.took_s)
    blamed = _blamed(scopes, failed)
    for scope in blamed:
        scopes[scope] = _blame(scopes.get(scope, ScopeHealth()), scope, failed, now, draw)
    counted = any(scopes[scope].failures > _failures(health, scope) for scope in blamed)
    if failed.trial:
        scopes = _untried(scopes, failed.model, failed.user)
    return BackendHealth(scopes, health.failures + counted)


def _failures(health: BackendHealth, scope: Scope) -> int:
    found = health.scopes.get(scope)
    return 0 if found is None else found.failures


def _blamed(scopes: dict[Scope, ScopeHealth], failed: Failed) -> list[Scope]:
    error, model, user = failed.error, failed.model, failed.user
    if _is_certain(error):
        return [ALL if error.failure in _EVERYWHERE else (model, "")]
    own = (model, user)
    others = any(scope[0] == model and scope[1] not in ("", user) for scope in scopes)
    return [own, (model, "")] if others or (model, "") in scopes else [own]


def _blame(
    before: ScopeHealth, scope: Scope, failed: Failed, now: float, draw: float
) -> ScopeHealth:
    error = failed.error
    own, certain = scope[1] != "", _is_certain(error)
    asked_s = min(error.retry_after or 0.0, LONGEST_S) if own or certain else 0.0
    floor = max(before.floor, now + asked_s)
    suspect = error.fault is Fault.SUSPECT
    if (now < before.until and not failed.trial) or (suspect and failed.digest == before.digest):
        # Under way when it failed, or the very request that was refused before: one event.
        return msgspec.structs.replace(before, floor=floor) if before.until else before
    failures = before.failures + 1
    loading = error.failure is FailureClass.LOADING  # it costs little to ask, and ends by itself
    lasting = error.failure in _LASTING and not suspect
    rest = (
        LONGEST_S if lasting else _growing(failures - (own and PATIENCE - 1)) * (1 - JITTER * draw)
    )
    return ScopeHealth(
        failures=failures,
        since=now,
        until=0.0 if own and failures < PATIENCE else max(now + rest, floor),
        floor=floor,
        hard=certain and not loading and (failures >= PATIENCE or lasting or _asks_for_it(error)),
        digest=failed.digest if suspect else 0,
        cause=error.failure.slug,
        believed=before.believed,
    )


def _is_certain(error: BackendError) -> bool:
    """Whether no request can have caused it."""
    return error.fault is Fault.BACKEND and error.failure in _CERTAIN


def _growing(failures: int) -> float:
    return min(FIRST_S * 2.0 ** min(failures - 1, 10), LONGEST_S)


def _asks_for_it(error: BackendError) -> bool:
    return error.retry_after is not None and error.failure is FailureClass.OVERLOADED


def _remembered(scopes: dict[Scope, ScopeHealth], now: float) -> dict[Scope, ScopeHealth]:
    oldest = now - FORGET_S
    return {scope: one for scope, one in scopes.items() if one.last_of_it() > oldest}


def after_success(health: BackendHealth, model: str) -> BackendHealth:
    """One success forgives everything in the scopes that it was in, and what other callers of the
    model met: it works."""
    left = {scope: one for scope, one in health.scopes.items() if scope[0] not in ("", model)}
    return BackendHealth(left) if left else HEALTHY


def after_nothing(health: BackendHealth, model: str, user: str) -> BackendHealth:
    """The call that was let through has ended and says nothing: another one may be."""
    return BackendHealth(_untried(health.scopes, model, user), health.failures)


def _untried(scopes: dict[Scope, ScopeHealth], model: str, user: str) -> dict[Scope, ScopeHealth]:
    tried = {scope for scope in _over(model, user) if scope in scopes}
    return {
        scope: msgspec.structs.replace(one, trial_until=0.0) if scope in tried else one
        for scope, one in scopes.items()
    }


def after_trial_began(health: BackendHealth, model: str, user: str, now: float) -> BackendHealth:
    """A call was let through: until it has ended, or takes too long, no other one is."""
    scopes = dict(health.scopes)
    for scope in _over(model, user):
        one = scopes.get(scope)
        if one is not None and one.is_due(now):
            scopes[scope] = msgspec.structs.replace(one, trial_until=now + TRIAL_S)
    return BackendHealth(scopes, health.failures)


def after_good_word(health: BackendHealth, *, is_news: bool) -> BackendHealth:
    """The backend says that it is well: its rests end, but no sooner than it has asked for. One
    from silence does where that ``is_news``, and once until something is answered: whoever says
    that he is well while his calls wait in vain will say so again."""
    scopes = {scope: _shortened(one, is_news) for scope, one in health.scopes.items()}
    return BackendHealth(scopes, health.failures)


def _shortened(one: ScopeHealth, is_news: bool) -> ScopeHealth:
    if not one.until:
        return one
    silent = one.cause == FailureClass.TIMEOUT.slug
    if silent and (one.believed or not is_news):
        return one
    until = max(one.floor, min(one.until, one.since + HEARSAY_S))
    believed = one.believed or (silent and until < one.until)
    return msgspec.structs.replace(one, until=until, believed=believed)
