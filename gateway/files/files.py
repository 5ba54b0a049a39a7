"""Files of callers: taken in within their bounds, read by whoever may, swept away in time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import msgspec

from gateway.clock import Clock
from gateway.files.contents import Contents, Writing
from gateway.files.names import FILE, LINKED, digest_of, new_id, new_token
from gateway.policy.sections.store import FileSettings
from gateway.storage.base import StorageUnavailable
from gateway.storage.files.base import CONTENT_TYPE, FileRecords, StoredFile
from gateway.types import ApiError, Principal

log = logging.getLogger("spillgate")

_COMES_WITHIN_S = 6 * 3_600.0
"""What a client begins to send and is not whole by then is swept away."""
_SWEEP_EVERY_S = 60.0
_SWEPT_AT_ONCE = 200
_AGAIN_AFTER_S = 3_600.0
"""What could not be swept away is tried again then."""
_UNBOUNDED = 2**62


class FilePlaces(NamedTuple):
    """Where what is known of files is, and where their bytes lie."""

    records: FileRecords
    contents: Contents


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is about to come."""

    user: str
    key_id: str
    name: str = ""
    purpose: str = "user_data"
    content_type: str = CONTENT_TYPE
    keep_s: float | None = None
    """None: as the policy says."""
    size: int = 0
    """As far as that is known: room is kept for it meanwhile."""


class Incoming:
    """A file whose bytes come. What is learned of it last may be said until it is whole."""

    def __init__(self, file: StoredFile, out: Writing, most: int) -> None:
        self.file = file
        self.size = 0
        self._out = out
        self._most = most

    async def write(self, piece: bytes) -> None:
        """Raises ApiError 413 for a file that is larger than files may be."""
        self.size += len(piece)
        if self.size > self._most:
            raise too_large(self._most)
        await self._out.write(piece)


class Files:
    """Of one gateway, over what all share."""

    def __init__(
        self,
        *,
        places: FilePlaces,
        settings: Callable[[], FileSettings],
        clock: Clock,
    ) -> None:
        self.records, self._contents = places
        self._settings = settings
        self._clock = clock

    @contextlib.asynccontextmanager
    async def incoming(self, new: NewFile, *, of_ours: bool = False) -> AsyncIterator[Incoming]:
        """Found by nobody before the end of the block, and never where that raises. ``of_ours``: a
        result, for which there is room. Raises ApiError 413 where it is too large, or its user's
        files together are."""
        settings, now_at = self._settings(), self._clock.time()
        keep_s = settings.keep if new.keep_s is None else new.keep_s
        file = StoredFile(
            id=new_id(now_at),
            user=new.user,
            key_id=new.key_id,
            name=new.name,
            purpose=new.purpose,
            content_type=new.content_type,
            size=new.size,
            created_at=now_at,
            expires_at=now_at + keep_s,
        )
        room = _UNBOUNDED if of_ours else settings.per_user
        if not await self.records.begin(file, room, _COMES_WITHIN_S):
            raise no_room(settings.per_user)
        try:
            async with self._contents.writing(file.id) as out:
                taken = Incoming(file, out, _UNBOUNDED if of_ours else settings.max)
                yield taken
            taken.file = msgspec.structs.replace(taken.file, size=taken.size)
            if not await self.records.keep(taken.file, room):
                raise no_room(settings.per_user)
        except BaseException:
            await self._give_up(file.id)
            raise

    async def _give_up(self, id: str) -> None:
        """Where the store does not answer, the sweeping finds it later."""
        with contextlib.suppress(StorageUnavailable):
            await self._contents.drop(id)
            await self.records.give_up(id)

    async def own(self, id: str, principal: Principal) -> StoredFile:
        """A file that the caller may see: its user's, or an admin's any. Raises ApiError 404, and
        403 for a client token: files of its user are not what its key has lent."""
        if principal.token is not None:
            raise ApiError(
                403,
                "key_not_permitted",
                "A token reads no stored files: put what the call needs into the call itself.",
                type="permission_error",
                param="$file",
            )
        found = await self.records.get(id) if id.startswith(FILE) else None
        if found is None or (principal.role != "admin" and found.user != principal.user):
            raise ApiError(
                404,
                "file_not_found",
                f"There is no file {id[:80]!r} of yours; one is kept for a while only.",
                param="file",
            )
        return found

    def read(self, id: str, start: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Its bytes, from ``start`` on. Raises LookupError where they are gone."""
        return self._contents.read(id, start)

    async def drop(self, id: str) -> bool:
        """It is gone for everybody; False where it was."""
        if not await self.records.drop(id):
            return False
        await self._sweep([id])
        return True

    async def link(self, file: StoredFile) -> str:
        """Where anybody may read it for a while: a URL, or a path below the gateway's own."""
        good_for_s = self._settings().link
        found = self._contents.link(file.id, good_for_s)
        if found is not None:
            return found
        token = new_token()
        await self.records.link(digest_of(token), file.id, good_for_s)
        return f"{LINKED}?token={token}"

    async def linked(self, token: str) -> StoredFile | None:
        """The file that a link leads to, while it is good."""
        return await self.records.linked(digest_of(token))

    # --- sweeping -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Sweeps files away whose time is over, for ever."""
        while True:
            with contextlib.suppress(StorageUnavailable):  # what is left is found at the next look
                await self.sweep()
            await self._clock.sleep(_SWEEP_EVERY_S)

    async def sweep(self) -> None:
        """One look at what is to go. Raises StorageUnavailable."""
        while ids := await self.records.over(_SWEPT_AT_ONCE):
            if not await self._sweep(ids):
                break

    async def _sweep(self, ids: list[str]) -> bool:
        """Whether any went. What cannot go now stands in nobody's way: it is tried again later."""
        gone, left = [], []
        for id in ids:
            try:
                await self._contents.drop(id)
            except StorageUnavailable as unavailable:
                log.warning("%s stays for now: %s", id, unavailable)
                left.append(id)
            else:
                gone.append(id)
        await self.records.forget(gone)
        await self.records.put_off(left, _AGAIN_AFTER_S)
        return bool(gone)

    async def aclose(self) -> None:
        """Closes both stores."""
        await self._contents.aclose()
        await self.records.aclose()


def too_large(most: int) -> ApiError:
    """Of one file."""
    return ApiError(
        413,
        "file_too_large",
        f"The file is larger than the {most} bytes that this gateway takes (files.max).",
        param="file",
        headers={"connection": "close"},
    )


def no_room(most: int) -> ApiError:
    """Of all files of a user."""
    return ApiError(
        413,
        "files_full",
        f"Your files would have more than {most} bytes together (files.per_user). DELETE "
        "/v1/files/{id} makes room.",
        param="file",
        headers={"connection": "close", "x-should-retry": "false"},
    )
