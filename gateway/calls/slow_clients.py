"""What waits for clients: uploads that are not whole, and answers that were not taken.

They are calls too, the first not yet, the second still: a key that may have one call in progress
has one of them all together, so that it holds no more memory than that call's. And whatever the
limits of its key, the bytes have bounds of their own.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType

from gateway.money.limit_refusals import refusal
from gateway.storage.base import Claim, Refused, SharedStore
from gateway.storage.claims import ClaimTemplate
from gateway.types import ApiError

SMALL = 64 * 1024
"""Bytes that a connection may hold beside all this: below it nothing is counted."""


class SlowClients:
    """Of this process. ``per_key`` and ``in_all`` are bytes."""

    def __init__(self, shared: SharedStore, *, per_key: int, in_all: int) -> None:
        self.per_key = per_key
        self.in_all = in_all
        self.held: Counter[str] = Counter()
        """Bytes by the id of the key."""
        self.total = 0
        self._shared = shared
        self.busy: Counter[str] = Counter()
        """Uploads and answers by the scope that limits how many calls there are at once."""

    def upload(self, template: ClaimTemplate) -> Upload:
        """A body that begins to come; of one key, with its limits."""
        return Upload(self, template)

    @contextlib.contextmanager
    def answer(self, key_id: str, claims: Iterable[Claim], size: int) -> Iterator[None]:
        """While an answer of so many bytes goes to its client, whose call has ended."""
        scopes = _concurrent(claims)
        self.add(key_id, size)
        self.busy.update(claim.scope for claim in scopes)
        try:
            yield
        finally:
            self.add(key_id, -size)
            self.give_back(scopes)

    async def check(self, template: ClaimTemplate) -> None:
        """Before a call is admitted. Raises ApiError 429 where what waits for the same clients
        leaves it no room."""
        if self.held[template.principal.key_id] > self.per_key:
            raise _too_much_of_a_key(self.per_key)
        scopes = [claim for claim in _concurrent(template.counted) if self.busy[claim.scope]]
        if scopes:
            await self._check_room(scopes, [self.busy[claim.scope] + 1 for claim in scopes])

    async def take(self, template: ClaimTemplate) -> list[Claim]:
        """An upload counts as a call from now on, until its scopes are given back. Raises ApiError
        429 where there is no room for it."""
        scopes = _concurrent(template.counted)
        self.busy.update(claim.scope for claim in scopes)
        try:
            await self._check_room(scopes, [self.busy[claim.scope] for claim in scopes])
        except BaseException:
            self.give_back(scopes)
            raise
        return scopes

    def give_back(self, scopes: Iterable[Claim]) -> None:
        """An upload or an answer has ended."""
        for claim in scopes:
            _lower(self.busy, claim.scope, 1)

    def add(self, key_id: str, size: int) -> None:
        """So many bytes more, or less."""
        self.total += size
        _lower(self.held, key_id, -size)

    async def _check_room(self, scopes: list[Claim], wanted: list[int]) -> None:
        """``wanted`` are the places that all that waits in a scope would have."""
        if not scopes:
            return
        statuses = await self._shared.statuses(scopes)
        for status, places in zip(statuses, wanted, strict=True):
            if status.remaining < places:
                raise refusal(Refused(status, 1.0))


class Upload:
    """One body that comes. Used as a context manager; ``grow`` counts."""

    def __init__(self, clients: SlowClients, template: ClaimTemplate) -> None:
        self._clients = clients
        self._template = template
        self._key_id = template.principal.key_id
        self._size = 0
        self._counted = 0
        self._scopes: list[Claim] | None = None

    async def grow(self, size: int) -> None:
        """So many bytes more. Raises ApiError 429 where its key has no room for them, 503 where
        the gateway has none."""
        self._size += size
        if self._size <= SMALL:
            return
        if self._scopes is None:
            self._scopes = await self._clients.take(self._template)
        self._clients.add(self._key_id, self._size - self._counted)
        self._counted = self._size
        self._check_bytes()

    def _check_bytes(self) -> None:
        """One that is alone may be as large as a body may be."""
        clients = self._clients
        of_key = clients.held[self._key_id]
        if of_key > clients.per_key and of_key > self._counted:
            raise _too_much_of_a_key(clients.per_key)
        if clients.total > clients.in_all and clients.total > self._counted:
            raise _too_much_in_all()

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clients.add(self._key_id, -self._counted)
        self._clients.give_back(self._scopes or ())


def _concurrent(claims: Iterable[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.unit == "concurrent"]


def _lower(counts: Counter[str], name: str, by: int) -> None:
    """One that is at zero is not kept."""
    counts[name] -= by
    if not counts[name]:
        del counts[name]


def _too_much_of_a_key(most: int) -> ApiError:
    return ApiError(
        429,
        "too_much_waiting",
        f"More than {most} bytes of your key's requests and answers wait to be sent or read. "
        "Read the answers, or send fewer at once.",
        type="rate_limit_error",
        headers={"Retry-After": "1"},
    )


def _too_much_in_all() -> ApiError:
    return ApiError(
        503,
        "overloaded",
        "The gateway has no room for another large request at the moment. Try again shortly.",
        type="api_error",
        headers={"Retry-After": "1"},
    )
