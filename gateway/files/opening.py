"""The place that a policy names for files' bytes."""

from __future__ import annotations

from pathlib import Path

from adapters.buckets.urls import KeyedBucket
from gateway.clock import Clock
from gateway.files.contents import Contents
from gateway.files.folder import FolderContents
from gateway.policy.model import Policy


def open_contents(policy: Policy, clock: Clock) -> Contents:
    """A bucket, or a folder, which is made when the first file comes; neither is asked yet."""
    place = policy.store.files
    if isinstance(place, KeyedBucket):
        # Imported here because a gateway without a bucket must not pay for httpx.
        from gateway.files.bucket import BucketContents

        return BucketContents(place, clock)
    return FolderContents(Path(policy.server.data) / "files" if place is None else place)
