"""Writes record batches to one Parquet file, whole or not at all; knows nothing of what is in them."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from upnext.errors import DataError
from upnext.store.disk import sync

BATCH_ROWS = 65_536


def write_parquet(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], progress: Callable[[int], None] | None = None
) -> int:
    """Writes `batches`, one row group each, to `path` and returns the number of rows.

    Holds one batch at a time. The file appears, or replaces the one before, once it is complete and on the disk; on
    an error nothing is left. `progress` is told the rows written so far. Raises `DataError` when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    rows = 0
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
                rows += batch.num_rows
                if progress:
                    progress(rows)
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}; check the folder, its permissions and the disk") from error
    finally:
        partial.unlink(missing_ok=True)
    return rows
