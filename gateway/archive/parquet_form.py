"""Rows as Parquet, by pyarrow: the ledger's own columns, integers of 64 bits and texts.

Imported for a policy that asks for it alone: pyarrow is an extra.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import pyarrow
from pyarrow import parquet

from gateway.storage.rows import COLUMNS, INTEGERS, Encoded

SUFFIX = ".parquet"
_SCHEMA = pyarrow.schema(
    [(name, pyarrow.int64() if name in INTEGERS else pyarrow.string()) for name in COLUMNS]
)


class ParquetFile:
    """A file that is being written; belongs to one thread at a time."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._file = parquet.ParquetWriter(raw, _SCHEMA, compression="zstd")

    def write(self, rows: Sequence[Encoded]) -> None:
        """Raises OSError."""
        arrays = [
            pyarrow.array(column, field.type)
            for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
        ]
        self._file.write_table(pyarrow.Table.from_arrays(arrays, schema=_SCHEMA))

    def __enter__(self) -> ParquetFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes its end."""
        self._file.close()


def read_parquet(path: Path, most: int) -> Iterator[list[Encoded]]:
    """Its rows as they were written, ``most`` at a time. Raises OSError, and ValueError for a file
    that is none of these, or not whole."""
    with parquet.ParquetFile(path) as file:
        if file.schema_arrow != _SCHEMA:
            raise ValueError("its columns are not the ledger's")
        for batch in file.iter_batches(batch_size=most):
            columns = [column.to_pylist() for column in batch.columns]
            yield list(zip(*columns, strict=True))
