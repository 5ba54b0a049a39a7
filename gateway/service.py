"""The running gateway: the policy in force, its backends, and the stores it was given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from adapters.base import Backend
from gateway.access_log import AccessLog
from gateway.active_policy import ActivePolicy
from gateway.archive.archivist import Archivist
from gateway.backends.live import LiveBackend
from gateway.backends.shared_bound import MakeBound
from gateway.backends.use_in_all import MakeUse, matters
from gateway.batches.batches import Batches
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.events.notices import Notices
from gateway.files.files import Files
from gateway.files.inputs import FileInputs
from gateway.hedging.hedges import Hedges
from gateway.jobs.jobs import Jobs
from gateway.keys.last_uses import LastUses
from gateway.metrics import Metrics
from gateway.money.settling.settlement import Settler
from gateway.named_files import FileRead, ReadFiles, read_again
from gateway.policies.changes import By, ChangesPolicies, PolicyChanges
from gateway.policies.differences import check_fixed
from gateway.policies.followed import FollowedPolicies
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.syntax.problems import PolicyError
from gateway.preflight.startable import read_startable
from gateway.responses.keeping import KeptResponses
from gateway.schedules.scheduler import Scheduler
from gateway.storage.base import Ledger, SharedStore, StorageUnavailable
from gateway.storage.jobs.base import JobStore
from gateway.storage.key_store import KeyStore
from gateway.storage.policies.base import PolicyStore
from gateway.storage.rented.base import InstanceStore
from gateway.streams.keeping import KeptStreams
from gateway.tag_values import TagValues
from gateway.tasks import BackgroundTasks
from gateway.together import Readiness, Together
from gateway.warm.kept import KeptWorkers
from gateway.warm.pings import Pings
from gateway.warm.plans import WorkerPlans

log = logging.getLogger("spillgate")

_SIGNALLED = By("signal:SIGHUP")
_RETIRE_S = 600.0
"""A backend that left the policy is closed when its last call ends, or after this."""
_FILL_AGAIN_S = 1.0

MakeBackend = Callable[[BackendSpec], Backend]
Fill = Callable[[Policy], Awaitable[None]]
Holder = Callable[[], Awaitable[None]]
Replaced = Callable[[LiveBackend, LiveBackend | None], Awaitable[None]]


class ReloadRefused(NamedTuple):
    """Why the policy's files were not put into force, and when (seconds since the epoch)."""

    at: float
    problems: tuple[str, ...]


class Gateway:
    """Holds what runs together; ``gateway.app`` puts it together."""

    archivist: Archivist | None = None  # moves old rows out of the ledger
    pings: Pings | None = None  # to ask a backend at once, once it has started
    plans: WorkerPlans | None = None  # what backends should keep, and why, once it has started
    rented: InstanceStore | None = None  # what was rented by the hour, with a store for it
    batches: Batches | None = None  # calls by the thousand, a line of a file each
    file_inputs: FileInputs | None = None  # puts them into calls that name them
    stored_files: Files | None = None  # what callers store here, with a store for it
    streams: KeptStreams | None = None  # answers to streams that have names
    responses: KeptResponses | None = None  # what callers may go on from
    jobs: Jobs | None = None  # work that nobody waits for on a connection, with a store for it
    hedges: Hedges | None = None  # slow calls, which a second backend is asked for
    schedules: Scheduler | None = None  # jobs and batches that begin by the clock

    def __init__(
        self,
        *,
        policy: Policy,
        shared: SharedStore,
        ledger: Ledger,
        keys: KeyStore,
        dispatcher: Dispatcher,
        settler: Settler,
        metrics: Metrics,
        access_log: AccessLog,
        clock: Clock,
        make_backend: MakeBackend,
        load_policy: Callable[[], Policy],
        kept_workers: KeptWorkers,
        policies: PolicyStore,
        bound: MakeBound | None = None,
        use: MakeUse | None = None,
    ) -> None:
        """``policies``: those that were in force. ``bound``: a part of what bounds the calls at a
        backend, ``use``: its calls in all, where other processes serve."""
        self.shared, self.ledger, self.keys = shared, ledger, keys
        self.last_uses = LastUses(keys, clock)
        self.dispatcher, self.settler = dispatcher, settler
        self.metrics, self.access_log, self.clock = metrics, access_log, clock
        self.load_policy = load_policy
        self.kept_workers, self.tag_values = kept_workers, TagValues()
        self.replaced: Replaced | None = None
        """Is told of each backend that a reload has replaced, or dropped, before that is closed."""
        self.notices: Notices | None = None
        """What tells others of the calls; None of a gateway without an outbox."""
        self.fill: Fill | None = None
        """Fills counters of a reload's limits, before and after it. Raises StorageUnavailable."""
        self.together: Together | None = None
        """All processes that serve the same policy on the same port, where there are several."""
        self.holders: list[Holder] = [lambda: dispatcher.reinstate(self.active)]
        """Whoever holds something in the shared store: each, when called, holds it again."""
        self._make_backend, self._bound, self._use = make_backend, bound, use
        self._superseded: list[ActivePolicy] = []
        """Policies that are in force no more, while calls are on their way by them."""
        self.file_readers: list[ReadFiles] = []
        """What a reload reads beside the policy's own files."""
        self.files: tuple[FileRead, ...] = ()
        """What the last reload read of them."""
        self.refused: ReloadRefused | None = None
        """The last reload that changed nothing; None once one has."""
        self._changing, self._background = asyncio.Lock(), BackgroundTasks()
        self.loop: asyncio.AbstractEventLoop | None = None  # that it runs on, once it has started
        self.active = ActivePolicy(policy, self._backends(policy, {}))
        self.active_since = clock.time()
        self.policies: ChangesPolicies = self._changes(PolicyChanges, policies)

    def follow_parent(self) -> None:
        """This is one of several processes, whose parent puts every policy in force."""
        self.policies = self._changes(FollowedPolicies, self.policies.store)

    def _changes(self, kind: type[PolicyChanges], store: PolicyStore) -> PolicyChanges:
        def read(text: str) -> Policy:
            return read_startable(text, self._make_backend, self.active.policy)

        return kind(store, in_force=lambda: self.active.policy, put=self.apply, read=read)

    # --- start and stop -----------------------------------------------------------------------

    async def choose_policy(self) -> None:
        """Before anything is started: what was applied over the files is served instead of them.
        Raises StorageUnavailable."""
        policy = await self.policies.begin(self.active.policy)
        if policy is not self.active.policy:
            check_fixed(self.active.policy, policy)
            self.active = ActivePolicy(policy, self._backends(policy, {}))

    async def start(self) -> None:
        """Opens every backend; models load while the gateway already answers."""
        self.loop = asyncio.get_running_loop()
        for backend in self.active.backends.values():
            await backend.adapter.start()
        self.run_forever(self.settler.run())
        if self.jobs is not None:
            await self.jobs.start()
            self.run_forever(self.jobs.run())
        for kept in (self.streams, self.responses):
            if kept is not None:
                self.run_forever(kept.run())

    def serve_jobs(self, store: JobStore) -> None:
        """Takes jobs, from the start on; ``store`` is in the ledger's own."""
        self.jobs = Jobs(
            name=secrets.token_hex(8),
            store=store,
            dispatcher=self.dispatcher,
            settler=self.settler,
            shared=self.shared,
            ledger=self.ledger,
            active=lambda: self.active,
            clock=self.clock,
            ended=self.log_ending,
        )
        self.holders.append(self.jobs.worker.reinstate)

    def log_ending(self, state: CallState) -> None:
        """A call that has ended leaves a line in the access log."""
        if (ending := state.ending) is not None:
            self.access_log.add(ending.row, ending.cost_nano, state.failures if state.tried else 0)

    def run_forever(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs beside the calls until ``aclose``; a failure is logged, never silent."""
        self._background.run(work)

    async def aclose(self) -> None:
        """Ends: late settlements are given one more try, then backends and stores are closed."""
        await self.dispatcher.aclose()
        await self.settler.retry()
        await self._background.cancel()
        for backend in self.active.backends.values():
            await backend.adapter.aclose()
        await self.shared.aclose()
        await self.ledger.aclose()
        self.keys.close()
        self.access_log.hand_over()

    # --- the policy ---------------------------------------------------------------------------

    def _backends(self, policy: Policy, kept: dict[str, LiveBackend]) -> dict[str, LiveBackend]:
        """The policy's backends; one whose settings did not change goes on as it is."""
        backends = {}
        for name, spec in policy.backends.items():
            prices = policy.prices[spec.common.price] if spec.common.price else None
            known = kept.get(name)
            if known is not None and known.spec == spec:
                known.charged.tariff = known.charged.tariff.followed_by(prices)
                backends[name] = known
            else:
                made = backends[name] = LiveBackend(
                    spec,
                    prices,
                    self._make_backend(spec),
                    self.clock,
                    self.dispatcher.timer,
                    self.dispatcher.draw,
                    self._bound,
                )
                if known is not None:
                    made.charged.tariff.uses = known.charged.tariff.uses
            if self._use is not None and matters(policy, spec, backends[name].adapter):
                self._use(name).join(backends[name])
        return backends

    async def apply(self, policy: Policy) -> None:
        """Swaps the whole policy, or raises and leaves the old one in force: StorageUnavailable
        where its limits are others, and what was spent is not known."""
        async with self._changing:
            before = self.active
            tariffs = {name: backend.charged.tariff for name, backend in before.backends.items()}
            limits = _limits_of(before.policy) != _limits_of(policy)
            try:
                check_fixed(before.policy, policy)
                if limits and self.fill is not None:
                    await self.fill(policy)
                after = ActivePolicy(policy, self._backends(policy, before.backends))
                await self._start_new(before, after)
            except BaseException:
                for name, tariff in tariffs.items():
                    before.backends[name].charged.tariff = tariff
                self.metrics.reloads.labels("refused").inc()
                raise
            self._replace(after)
            self.metrics.reloads.labels("applied").inc()
            self.refused = None
            log.info("policy %s is in force", policy.version)
            self._retire(before, after)
            if limits and self.fill is not None:
                await self._fill_again(self.fill, policy)

    async def _fill_again(self, fill: Fill, policy: Policy) -> None:
        """For what calls have spent since the first time."""
        try:
            await fill(policy)
        except StorageUnavailable as unavailable:
            log.error("the new limits could not be filled from the ledger: %s", unavailable)
            self.run_forever(self.fill_later(fill))

    async def fill_later(self, fill: Fill) -> None:
        """As soon as the stores answer, by the limits that are in force then."""
        while True:
            await self.clock.sleep(_FILL_AGAIN_S)
            with contextlib.suppress(StorageUnavailable):
                await fill(self.active.policy)
                return

    async def _start_new(self, before: ActivePolicy, after: ActivePolicy) -> None:
        started: list[LiveBackend] = []
        try:
            for name, backend in after.backends.items():
                if before.backends.get(name) is not backend:
                    started.append(backend)
                    await backend.adapter.start()
        except BaseException:
            for backend in started:
                await backend.adapter.aclose()
            raise

    async def exchange(self, make: Callable[[ActivePolicy], ActivePolicy]) -> None:
        """Puts in force what is made of what is, over the same backends. Raises what ``make``
        does, and changes nothing."""
        async with self._changing:
            self._replace(make(self.active))

    def _replace(self, after: ActivePolicy) -> None:
        """Calls go on by the one that they came by, in the limits of the new one."""
        before, self.active, self.active_since = self.active, after, self.clock.time()
        going_on = [one for one in self._superseded if one.calls]
        self._superseded = [*going_on, *before.candidates(), before]
        for one in self._superseded:
            one.limit_by(after.policy)

    def _retire(self, before: ActivePolicy, after: ActivePolicy) -> None:
        for name, backend in before.backends.items():
            if after.backends.get(name) is not backend:
                backend.replace_by(after.backends.get(name))
                self.run_forever(self._close_idle(backend, after.backends.get(name)))

    async def _close_idle(self, backend: LiveBackend, new: LiveBackend | None) -> None:
        if self.replaced is not None:
            await self.replaced(backend, new)
        end = self.clock.monotonic() + _RETIRE_S
        while self._is_needed(backend) and self.clock.monotonic() < end:
            await self.clock.sleep(0.25)
        await backend.adapter.aclose()

    def _is_needed(self, backend: LiveBackend) -> bool:
        """Calls are there, or may still be sent there by an earlier policy."""
        return backend.in_flight > 0 or any(
            one.calls and one.backends.get(backend.name) is backend for one in self._superseded
        )

    def set_draining(self, name: str, draining: bool) -> LiveBackend:
        """Sends a backend no more calls, or calls again. Raises ApiError 404 for an unknown one."""
        backend = self.active.backend(name)
        backend.draining = draining
        if self.together is not None:
            self.together.tell_of_drained(name, draining)
        return backend

    async def reload(self, problems: Sequence[str] = ()) -> None:
        """Reads the policy's files again, then those that it names; on any error the old policy
        stays, and of each file what was read before. ``problems``: why the policy's are not to be
        put in force, where somebody else has found that."""
        if problems:
            self.metrics.reloads.labels("refused").inc()
            self.refused = ReloadRefused(self.clock.time(), tuple(problems))
        else:
            await self._reload_policy()
        self.files = await asyncio.to_thread(read_again, self.file_readers)

    async def _reload_policy(self) -> None:
        try:
            policy = await asyncio.to_thread(self.load_policy)
        except Exception as error:
            self.metrics.reloads.labels("refused").inc()
            self._refuse(error)
            return
        try:
            await self.policies.reload(policy, _SIGNALLED)
        except Exception as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        problems = error.problems if isinstance(error, PolicyError) else (error,)
        self.refused = ReloadRefused(self.clock.time(), tuple(str(one) for one in problems))
        for problem in self.refused.problems:
            log.error("the policy was not changed: %s", problem)

    # --- how it stands ------------------------------------------------------------------------

    def readiness(self) -> Readiness:
        """Of this process: the policy is loaded, the stores work, every required backend is warm.
        Of what is warned of nothing is missing: calls of keys that are known are taken, and within
        what limits let."""
        missing, warnings = self.not_ready(), self.active.unserved(self.clock.monotonic())
        if self.ledger.failing:
            missing.append("the ledger cannot be written")
        if self.shared.failing:
            missing.append("the shared store does not answer")
        if self.keys.failing:
            warnings.append("changes of keys cannot be read")
        if self.shared.degraded:
            warnings.append(f"the shared store is lost: {self.shared.degraded}")
        return Readiness(tuple(missing), tuple(warnings))

    def not_ready(self) -> list[str]:
        """The required backends that are not warm, each with why. One that rests after failures
        is missing where a model has no other backend that may be asked."""
        now, active = self.clock.monotonic(), self.active
        required = [b for b in active.backends.values() if b.spec.common.required]
        missing = [(backend.name, _what_is_missing(active, backend, now)) for backend in required]
        return [f"{name}: {what}" for name, what in missing if what]


def _limits_of(policy: Policy) -> object:
    return policy.limits, policy.plans


def _what_is_missing(active: ActivePolicy, backend: LiveBackend, now: float) -> str:
    if backend.draining:
        return "drained"
    if not backend.is_warm:
        return backend.standing.detail or "not warm yet"
    if backend.standing.blocked(now) == "not_ready":
        return backend.standing.detail or "not ready"
    alone = [model for model in active.served_by(backend) if not active.answers(model, now)]
    return f"left alone after failures, and nothing else serves {', '.join(alone)}" if alone else ""
