"""Places for files' bytes of each kind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.buckets.urls import KeyedBucket
from gateway.clock import FakeClock, SystemClock
from gateway.files.bucket import BucketContents
from gateway.files.contents import Contents
from gateway.files.files import FilePlaces, Files
from gateway.files.folder import FolderContents
from gateway.policy.sections.store import FileSettings
from gateway.storage.files.sql_files import SqlFiles
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO
from tests.adapters.replicate.bucket import REGION, ObjectStore
from tests.adapters.served import served

KEY_ID, SECRET = "AKIA4711", "s3-secret/+4711"


@contextlib.contextmanager
def bucket_running() -> Iterator[tuple[KeyedBucket, ObjectStore]]:
    """A bucket that takes what botocore's own signer would have signed."""
    store = ObjectStore(KEY_ID, SECRET)
    with served(store.app()) as url:
        text = f"s3://{KEY_ID}:{SECRET}@results/spill?endpoint={url}&region={REGION}"
        yield KeyedBucket.from_url(text, where="store.files"), store


@pytest.fixture(params=["folder", "bucket"])
def contents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Contents]:
    if request.param == "folder":
        yield FolderContents(tmp_path / "files")
        return
    with bucket_running() as (bucket, _):
        found = BucketContents(bucket, SystemClock())
        yield found
        asyncio.run(found.aclose())


def files_in(
    folder: Path, clock: FakeClock, settings: Callable[[], FileSettings] = FileSettings
) -> Files:
    """Over embedded stores."""
    places = places_in(folder, clock)
    return Files(places=places, settings=settings, clock=clock)


def places_in(folder: Path, clock: FakeClock) -> FilePlaces:
    """The same ones for the same folder."""
    statements = SqliteStatements(folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO))
    return FilePlaces(SqlFiles(statements), FolderContents(folder / "files"))
