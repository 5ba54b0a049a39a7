"""What the policy's files said last, in a file of the data folder."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from gateway.policies.last_files import FilesTaken
from gateway.warm.kept import write_whole

log = logging.getLogger("spillgate")

FILE = "policy-files.json"
"""In the data folder."""
_decode = msgspec.json.Decoder(FilesTaken).decode


class LastFilesOnDisk:
    """Replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> FilesTaken | None:
        """None where there is no file, or none that can be read."""
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s cannot be read: %s", self._path, error)
            return None

    def write(self, taken: FilesTaken) -> None:
        """On the disk when it returns. Raises OSError."""
        write_whole(self._path, msgspec.json.encode(taken))
