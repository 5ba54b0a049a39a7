"""What cannot be swept away keeps nothing else from it, and is tried again."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from gateway.files.files import FilePlaces, Files, NewFile
from gateway.files.folder import FolderContents
from gateway.policy.sections.store import FileSettings
from gateway.storage.base import StorageUnavailable
from tests.gateway.files.places import places_in


class Sticking(FolderContents):
    """A folder in which some files cannot be deleted."""

    stuck: frozenset[str] = frozenset()

    async def drop(self, id: str) -> None:
        if id in self.stuck:
            raise StorageUnavailable(f"{id}: a folder of another user's")
        await super().drop(id)


async def test_a_file_that_cannot_be_deleted_is_left_for_later(
    tmp_path: Path, clock: FakeClock
) -> None:
    contents = Sticking(tmp_path / "files")
    places = FilePlaces(places_in(tmp_path, clock).records, contents)
    files = Files(places=places, settings=FileSettings, clock=clock)
    ids = []
    for _ in range(3):
        async with files.incoming(NewFile(user="alice", key_id="k", keep_s=60.0)) as taken:
            await taken.write(b"abc")
        ids.append(taken.file.id)

    def there() -> set[str]:
        return {one.name for one in (tmp_path / "files").rglob("*") if one.is_file()}

    contents.stuck = frozenset(ids[:1])
    await clock.advance(61)
    await files.sweep()
    assert there() == {ids[0]}
    assert await files.records.get(ids[0]) is None
    assert await files.records.over(10) == []

    contents.stuck = frozenset()
    await clock.advance(3_600)
    await files.sweep()
    assert there() == set()
    assert await files.records.over(10) == []
    await files.aclose()
