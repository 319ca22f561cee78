"""Writes a release's item rows into a store for workers that cannot hold them, and takes them out again."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from upnext.clock import Deadline
from upnext.errors import ReleaseError
from upnext.features.item_records import MARKS, Published, RecordLayout, mark_key, pack_mark, row_keys, unpack_mark
from upnext.store.interface import Store

_AT_ONCE = 1_024  # rows: about a megabyte
_MARK_EVERY = 16  # batches

Progress = Callable[[int, int, str], object]  # done, in all, a remark


def publish(
    release_id: str,
    tables: Mapping[str, npt.NDArray[Any]],
    n_released: int,
    store: Store,
    deadline: Deadline,
    progress: Progress = lambda done, total, remark: None,
    *,
    again: bool = False,
) -> int:
    """Writes the first `n_released` rows of all `tables`, a record per item; how many were written now.

    Goes on where an interrupted one stopped, and writes nothing where all is there, save `again`. Raises `StoreError`.
    """
    layout = RecordLayout(tables)
    (value,) = store.get_many([mark_key(release_id)], deadline)
    before = None if value is None else unpack_mark(value)
    start = 0
    if before is not None and (before.columns, before.n_rows) == (layout.columns, n_released) and not again:
        if before.complete:
            return 0
        start = before.done
    progress(start, n_released, "")
    _mark(store, release_id, Published(layout.columns, n_released, start), deadline)
    for number, first in enumerate(range(start, n_released, _AT_ONCE), start=1):
        last = min(first + _AT_ONCE, n_released)
        blob, size = layout.pack(tables, first, last).tobytes(), layout.record_bytes
        values = [blob[at : at + size] for at in range(0, len(blob), size)]
        store.put_many(list(zip(row_keys(release_id, range(first, last)), values, strict=True)), deadline)
        if number % _MARK_EVERY == 0 or last == n_released:
            _mark(store, release_id, Published(layout.columns, n_released, last), deadline)
            progress(last, n_released, f"{last:,} rows")
    return n_released - start


def unpublish(
    release_id: str, store: Store, deadline: Deadline, progress: Progress = lambda done, total, remark: None
) -> int:
    """Takes out all rows of a release; how many there were. Interrupted, it can be called again.

    Raises `ReleaseError` where the store has none of that release, `StoreError`.
    """
    (value,) = store.get_many([mark_key(release_id)], deadline)
    if value is None:
        there = ", ".join(published_ids(store)) or "none"
        raise ReleaseError(f"the store has no item rows of release {release_id!r}; it has those of: {there}")
    mark, deleted = unpack_mark(value), 0
    # From here on nobody opens it, and whoever publishes it begins at the beginning.
    _mark(store, release_id, Published(mark.columns, mark.n_rows, 0), deadline)
    for first in range(0, mark.n_rows, _AT_ONCE):
        last = min(first + _AT_ONCE, mark.n_rows)
        deleted += store.delete_many(row_keys(release_id, range(first, last)), deadline)
        progress(last, mark.n_rows, f"{last:,} rows")
    store.delete_many([mark_key(release_id)], deadline)
    return deleted


def published_ids(store: Store) -> list[str]:
    """Releases of which the store has item rows, or some of them, oldest first."""
    return [key[len(MARKS) :].decode() for key, _ in store.scan(MARKS)]


def _mark(store: Store, release_id: str, mark: Published, deadline: Deadline) -> None:
    store.put_many([(mark_key(release_id), pack_mark(mark))], deadline)
