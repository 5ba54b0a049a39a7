"""Puts another policy in force, and keeps that it is.

Whose word counts: what the files say, until a policy is applied over them by an administrator;
that one then, in every gateway whose files say the same and that shares the ledger, and after
every restart, until the files say something else. Then it is overruled, also where they say again
what they said before: by what was in force last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from gateway.clock import Clock
from gateway.policies.differences import check_versions
from gateway.policies.earlier import before
from gateway.policies.last_files import FilesTaken, LastFiles, MemoryLastFiles
from gateway.policy.model import Policy
from gateway.policy.syntax.problems import PolicyError
from gateway.storage.base import StorageUnavailable
from gateway.storage.policies.base import NewChange, PolicyAct, PolicyChange, PolicyStore
from gateway.tasks import BackgroundTasks
from gateway.types import ApiError

log = logging.getLogger("spillgate")

LOOK_EVERY_S = 2.0
Read = Callable[[str], Policy]
"""Reads and checks a text, on a thread. Raises PolicyError."""
Put = Callable[[Policy], Awaitable[None]]
"""Puts a policy in force, whole or not at all. Raises ApiError, PolicyError, StorageUnavailable, or
whatever a backend raises that cannot start."""


class By(NamedTuple):
    """Who changes the policy, and from where."""

    actor: str = "gateway"
    address: str = ""


class ChangesPolicies(Protocol):
    """What changes the policy, and knows those that were in force."""

    store: PolicyStore
    read: Read
    last_files: LastFiles
    """What is known of them from before the start."""

    async def begin(self, files: Policy) -> Policy:
        """At the start: the policy to serve, which is what was applied over these very files, or
        these. Raises StorageUnavailable."""
        ...

    async def reload(self, files: Policy, by: By) -> None:
        """What the files say comes into force; where it is what they said before, what was applied
        over them is read anew, for its secrets. Raises as ``Put`` does."""
        ...

    async def follow(self, clock: Clock) -> None:
        """What was applied elsewhere comes into force here too, as long as this runs."""
        ...

    async def apply(self, policy: Policy, by: By, expected: str = "") -> PolicyChange:
        """In force everywhere, and kept, or not at all. ``expected``: the version that it is to
        follow. Raises ApiError 409 where another one is in force, and StorageUnavailable."""
        ...

    async def tried(self, policy: Policy, by: By) -> None:
        """Keeps a policy that is tried beside the one in force: calls name its version. Raises
        StorageUnavailable."""
        ...

    async def roll_back(self, version: str, by: By, expected: str = "") -> PolicyChange:
        """To a version that was in force, or, where it is empty, to the one before. Raises
        ApiError 404 for one that never was, 409 where there is none before, or where it is no
        policy any more."""
        ...


class PolicyChanges:
    """``in_force`` is the policy of this gateway, ``put`` replaces it."""

    history = 500
    """Changes that a roll-back looks back on."""

    def __init__(
        self, store: PolicyStore, *, in_force: Callable[[], Policy], put: Put, read: Read
    ) -> None:
        self.store = store
        self.last_files: LastFiles = MemoryLastFiles()
        """Who serves for real has those on a disk."""
        self._in_force = in_force
        self._put = put
        self.read = read
        """A test whose kinds of backends are its own has another."""
        self.look_every_s = LOOK_EVERY_S
        self._changing = asyncio.Lock()
        self._tasks = BackgroundTasks()
        self._file = ""
        """Of what the files said when they were last taken."""
        self._seen = 0
        """The newest change over these files that was looked at."""
        self._owed: NewChange | None = None
        """What has come into force and could not be kept yet."""

    # --- the files ------------------------------------------------------------------------------

    async def begin(self, files: Policy) -> Policy:
        self._file = files.version
        applied = await self._applied(files)
        if applied is not None:
            await self._note(applied, self._change("start", applied, By()))
        self._remember()
        return files if applied is None else applied

    async def reload(self, files: Policy, by: By) -> None:
        async with self._changing:
            policy = files
            if self.stays_over(files):
                policy = await asyncio.to_thread(self.read, self._in_force().document)
            check_versions(self._in_force(), policy)
            await self._put(policy)
            await self.taken(files, by)

    def stays_over(self, files: Policy) -> bool:
        """Whether what is in force was applied over these very files."""
        return files.version == self._file and self._in_force().version != self._file

    async def taken(self, files: Policy, by: By) -> None:
        """The files were read, and what is to be in force is."""
        self._file = files.version
        policy = self._in_force()
        await self._keep_when_possible(policy, self._change("reload", policy, by))
        self._remember()  # what came just before counts as seen: it was over other files

    def _remember(self) -> None:
        """From when on the files say what they do."""
        last = self.last_files.read()
        if last is not None and last.version == self._file:
            return
        try:
            self.last_files.write(FilesTaken(self._file, self._seen))
        except OSError as error:
            log.error(
                "what the files say cannot be written down: %s; should they change back while no "
                "gateway runs, what was applied over them is in force again",
                error,
            )

    def _is_overruled(self, change: PolicyChange) -> bool:
        """Whether the files have said something else since."""
        last = self.last_files.read()
        return last is not None and last.version != self._file and change.number <= last.seen

    # --- an administrator -----------------------------------------------------------------------

    async def apply(self, policy: Policy, by: By, expected: str = "") -> PolicyChange:
        return await self._tasks.shielded(self._apply(policy, by, expected))

    async def roll_back(self, version: str, by: By, expected: str = "") -> PolicyChange:
        return await self._tasks.shielded(self._roll_back(version, by, expected))

    async def _apply(self, policy: Policy, by: By, expected: str) -> PolicyChange:
        async with self._changing:
            self._check_expected(expected)
            check_versions(self._in_force(), policy)
            return await self._change_to("apply", policy, by)

    async def _roll_back(self, version: str, by: By, expected: str) -> PolicyChange:
        async with self._changing:
            self._check_expected(expected)
            return await self._change_to("roll_back", await self._earlier(version), by)

    async def tried(self, policy: Policy, by: By) -> None:
        # Over no files: nobody follows it.
        change = NewChange(
            act="try_out", version=policy.version, file="", actor=by.actor, address=by.address
        )
        while await self.store.add(change, policy.document, await self._newest_number()) is None:
            pass

    def _check_expected(self, version: str) -> None:
        in_force = self._in_force().version
        if version and version != in_force:
            raise changed(in_force)

    async def _change_to(self, act: PolicyAct, policy: Policy, by: By) -> PolicyChange:
        """The store decides: where another change came first there, this one never was."""
        earlier, change = self._in_force(), self._change(act, policy, by)
        newest = await self._newest_number()
        await self._put(policy)
        self._owed = change  # should it not be possible to put the earlier one back
        try:
            kept = await self.store.add(change, policy.document, newest)
        except StorageUnavailable:
            await self._put_back(earlier)
            raise
        if kept is None:
            await self._put_back(earlier)
            raise changed("another one")
        self._seen, self._owed = kept.number, None
        return kept

    async def _put_back(self, earlier: Policy) -> None:
        await self._put(earlier)
        self._owed = None

    async def _earlier(self, version: str) -> Policy:
        version = version or await self._before()
        document = await self.store.document(version) if version else None
        if not version:
            raise ApiError(409, "no_earlier_policy", "There is no earlier policy to return to.")
        if document is None:
            raise unknown(version)
        return await self._read_again(version, document)

    async def _before(self) -> str:
        """Over the same files where there is one: others may have other files."""
        found = await self.store.changes(None, self.history)
        changes = [one.what for one in reversed(found)]
        own = [one for one in changes if one.file == self._file]
        in_force = self._in_force().version
        return before(in_force, own) or before(in_force, changes) or ""

    async def _read_again(self, version: str, document: str) -> Policy:
        try:
            return await asyncio.to_thread(self.read, document)
        except PolicyError as error:
            text = f"Policy {version} cannot be served any more:\n{error}"
            raise ApiError(409, "earlier_policy_unfit", text) from None

    # --- others who share the ledger --------------------------------------------------------------

    async def follow(self, clock: Clock) -> None:
        while True:
            await clock.sleep(self.look_every_s)
            try:
                await self.look()
            except StorageUnavailable as unavailable:
                log.debug("the history of policies: %s", unavailable)

    async def look(self) -> None:
        """Once. What cannot be put in force is logged, and not tried again. Raises
        StorageUnavailable."""
        async with self._changing:
            newest = await self.store.newest(self._file)
            if newest is not None and newest.number > self._seen:
                self._seen = newest.number
                if newest.what.version != self._in_force().version:
                    await self._take_over(newest)
            if self._owed is not None:
                await self._note(self._in_force(), self._owed)

    async def _take_over(self, change: PolicyChange) -> None:
        policy = await self._of(change)
        if policy is None:
            return
        try:
            await self._put(policy)
        except Exception as error:
            log.error(
                "policy %s, applied elsewhere, is not in force here: %s", policy.version, error
            )
            return
        self._owed = None

    async def _applied(self, files: Policy) -> Policy | None:
        """The files' own where nothing was applied over them; None where that cannot be served.
        Raises StorageUnavailable."""
        newest = await self.store.newest(files.version)
        self._seen = 0 if newest is None else newest.number
        if newest is None or newest.what.version == files.version or self._is_overruled(newest):
            return files
        policy = await self._of(newest)
        if policy is not None:
            log.warning(
                "policy %s, applied by %s, is in force; the files say %s, as they did before it",
                policy.version,
                newest.what.actor,
                files.version,
            )
        return policy

    async def _of(self, change: PolicyChange) -> Policy | None:
        """None where it cannot be served here, which is logged. Raises StorageUnavailable."""
        version = change.what.version
        document = await self.store.document(version)
        try:
            return None if document is None else await asyncio.to_thread(self.read, document)
        except PolicyError as error:
            log.error("policy %s, applied by %s: %s", version, change.what.actor, error)
            return None

    # --- what is kept -----------------------------------------------------------------------------

    def _change(self, act: PolicyAct, policy: Policy, by: By) -> NewChange:
        return NewChange(
            act=act,
            version=policy.version,
            file=self._file,
            actor=by.actor,
            address=by.address,
        )

    async def _newest_number(self) -> int:
        newest = await self.store.newest()
        return 0 if newest is None else newest.number

    async def _keep_when_possible(self, policy: Policy, change: NewChange) -> None:
        self._owed = change
        try:
            await self._note(policy, change)
        except StorageUnavailable as unavailable:
            log.error("policy %s is in force, and not kept yet: %s", policy.version, unavailable)

    async def _note(self, policy: Policy, change: NewChange) -> None:
        """Keeps what came into force by itself, unless the newest says it. Raises
        StorageUnavailable."""
        while True:
            newest = await self.store.newest()
            if newest is not None and _says_the_same(newest.what, change):
                self._seen = newest.number
                break
            number = 0 if newest is None else newest.number
            kept = await self.store.add(change, policy.document, number)
            if kept is not None:
                self._seen = kept.number
                break
        self._owed = None


def _says_the_same(one: NewChange, other: NewChange) -> bool:
    return (one.version, one.file) == (other.version, other.file)


def changed(version: str) -> ApiError:
    """409 for a change that was made with another policy in sight."""
    text = f"The policy was changed meanwhile, to {version}: look at the difference anew."
    return ApiError(409, "policy_changed", text)


def unknown(version: str) -> ApiError:
    """404 for a version that was never in force."""
    text = (
        f"No policy {version!r} was ever in force. GET /admin/policy/history lists those that were."
    )
    return ApiError(404, "policy_not_found", text)
