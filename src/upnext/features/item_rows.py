"""A release's rows per item in two levels: those used last in the process, all of them in the store.

Knows not who reads them: each table looks like the array it stands for, as far as requests use arrays.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.clock import Clock, Deadline
from upnext.errors import ReleaseError, SettingsError, StoreError
from upnext.features.hand import Hand
from upnext.features.item_records import RecordLayout, mark_key, row_keys, unpack_mark
from upnext.features.row_cache import RowCache
from upnext.settings import ItemSettings
from upnext.store.interface import Store

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
_MOST_PINNED = 0.5  # of the rows that fit in the process
_PIN_AT_ONCE = 1_024
_PATIENCE_MS = 50.0  # for rows that nobody has brought: what is no request has no deadline
_log = logging.getLogger(__name__)


class ItemTier(NamedTuple):
    """Where item rows are, and how many bytes of them a process holds."""

    store: Store
    l1_bytes: int = 256 * 2**20
    pinned_share: float = 0.01  # of all items, the most popular: held from the opening on
    least_rows: int = 4_096  # must fit, or requests push out each other's candidates


def item_tier(store: Store, settings: ItemSettings) -> ItemTier | None:
    """The tier that the settings ask for; None where item rows are mapped from the release."""
    return ItemTier(store, settings.l1_bytes, settings.pinned_share) if settings.tier == "store" else None


class ItemRows:
    """The item tables of one release: rows of the release from store and process, spare rows from memory here.

    A thread that has brought rows has them at hand until it brings others, whatever other threads do meanwhile.
    """

    def __init__(
        self, release_id: str, tables: Mapping[str, Array], n_released: int, tier: ItemTier, clock: Clock
    ) -> None:
        """`tables` (n_items, width) each: the release's own arrays, mapped. Of them only spare rows are read here.

        Raises `SettingsError` where fewer rows fit than `tier` asks for.
        """
        self.layout = RecordLayout(tables)
        self.cache = RowCache(tier.l1_bytes, self.layout.record_bytes)
        if self.cache.capacity < tier.least_rows:
            raise SettingsError(
                f"{tier.l1_bytes} bytes hold {self.cache.capacity} item rows of {self.layout.record_bytes} bytes, "
                f"fewer than the {tier.least_rows} that requests in flight need; allow more"
            )
        self.n_released = n_released
        self._release_id = release_id
        self._files = dict(tables)
        self._spare = {name: np.array(table[n_released:]) for name, table in tables.items()}
        self._store = tier.store
        self._clock = clock
        self._hand = Hand()
        self._version = 0  # of the spare rows

    def table(self, name: str, *, steady: bool = False) -> "TieredRows":
        """One table; a `steady` one reads the release's file where the store fails, for those who cannot go without."""
        return TieredRows(self, name, self._files[name], self._spare[name], steady)

    def bring(self, rows: npt.NDArray[np.integer[Any]], deadline: Deadline) -> None:
        """Puts all tables' rows (n,) at this thread's hand: at most one read of the store.

        Raises `StoreError`; nothing is at hand then.
        """
        hand, places, version = self._hand, rows.astype(np.int64), self._version
        hand.empty()
        records = hand.room(len(places), self.layout.record_bytes)
        fresh = places >= self.n_released
        if not fresh.any():
            self._released(places, records, deadline)
        else:
            old, new = (~fresh).nonzero()[0], fresh.nonzero()[0]
            part = np.empty((len(old), self.layout.record_bytes), np.uint8)
            self._released(places[old], part, deadline)
            records[old] = part
            for name, spare in self._spare.items():
                self.layout.view(records, name)[new] = spare[places[new] - self.n_released]
        hand.hold(places, records, version)

    def at_hand(self, name: str, rows: Rows) -> Array | None:
        """(n, width): the rows, which this thread has brought before; None where it lacks one."""
        hand = self._hand
        at = hand.places(rows) if hand.version == self._version else None
        if at is None:
            return None
        part = self.layout.view(hand.records, name)
        return part[at].copy() if isinstance(at, slice) else part.take(at, axis=0)

    def taken(self, name: str, rows: Rows) -> Array:
        """(n, width): the rows, brought now unless they are at hand. Raises `StoreError`."""
        found = self.at_hand(name, rows)
        if found is None:
            self.bring(rows, Deadline.after(self._clock, _PATIENCE_MS))
            found = self.layout.view(self._hand.records, name).copy()
        return found

    def spare_changed(self) -> None:
        """What threads have at hand of spare rows is no longer so."""
        self._version += 1

    def pin(self, rows: Rows, deadline: Deadline) -> None:
        """Holds `rows` for good, the first of them surest; at most half of those that fit. Raises `StoreError`."""
        rows = rows[: int(self.cache.capacity * _MOST_PINNED)]
        for at in range(0, len(rows), _PIN_AT_ONCE):
            some = rows[at : at + _PIN_AT_ONCE]
            self.cache.keep(some, self._read(some, deadline), pin=True)

    def _released(self, rows: Rows, out: npt.NDArray[np.uint8], deadline: Deadline) -> None:
        missing = self.cache.find(rows, out)
        if not len(missing):
            return
        distinct, of = np.unique(rows.take(missing), return_inverse=True)
        records = self._read(distinct, deadline)
        out[missing] = records.take(of, axis=0)
        self.cache.keep(distinct, records)

    def _read(self, rows: Rows, deadline: Deadline) -> npt.NDArray[np.uint8]:
        values = self._store.get_many(row_keys(self._release_id, rows.tolist()), deadline)
        try:
            read = np.frombuffer(b"".join(values), np.uint8)  # type: ignore[arg-type]  # None raises
            return read.reshape(len(rows), self.layout.record_bytes)
        except (TypeError, ValueError) as error:
            absent = values.count(None)
            raise StoreError(
                f"of {len(rows)} item rows of release {self._release_id} the store lacks {absent}, or has them "
                f"in another form; run `upnext release publish {self._release_id} --again`"
            ) from error


class TieredRows:
    """One table of `ItemRows`, to be used like an array (n_items, width).

    `take` reads process and store, and raises `StoreError`. Everything else is for rare uses: single rows, those at
    hand aside, and whole columns are read from the release's file, and only spare rows are written. What is taken is a
    copy, as from an array.
    """

    ndim = 2

    def __init__(self, items: ItemRows, name: str, file: Array, spare: Array, steady: bool) -> None:
        self._items = items
        self._name = name
        self._file = file
        self._spare = spare
        self._n_released = items.n_released
        self._steady = steady
        self.shape: tuple[int, int] = (file.shape[0], file.shape[1])
        self.dtype = file.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: npt.NDArray[np.integer[Any]], axis: int = 0, mode: str = "raise") -> Array:
        """(n, width): as an array's `take` along its first axis. Raises `StoreError`, and `IndexError` as that does."""
        assert axis == 0, "only rows can be taken"
        places = np.asarray(rows).astype(np.int64)
        if mode == "clip":
            places = places.clip(0, len(self) - 1)
        elif len(places) and (places.min() < 0 or places.max() >= len(self)):
            raise IndexError(f"rows {places.min()} to {places.max()} of a table of {len(self)}")
        try:
            return self._items.taken(self._name, places)
        except StoreError:
            if self._steady:
                return self._from_file(places)
            raise

    def __getitem__(self, key: Any) -> Array:
        if isinstance(key, tuple):
            return np.asarray(self._file[key])
        if isinstance(key, slice):
            begin, end, step = key.indices(len(self))
            if begin >= self._n_released:
                return self._spare[begin - self._n_released : max(end - self._n_released, 0) : step]
            return self._from_file(np.arange(begin, end, step))
        rows = np.asarray(key)
        if rows.dtype == np.bool_:
            rows = rows.nonzero()[0]
        places = rows.reshape(-1).astype(np.int64)
        places = np.where(places < 0, places + len(self), places)
        found = self._items.at_hand(self._name, places)
        if found is None:
            found = self._from_file(places)
        return found[0] if rows.ndim == 0 else found

    def __setitem__(self, key: npt.NDArray[np.integer[Any]] | int, values: Any) -> None:
        """Writes spare rows. Raises `IndexError` for others: a release does not change."""
        rows = np.asarray(key)
        if rows.size and rows.min() < self._n_released:
            raise IndexError(
                f"row {rows.min()} of {self._name} is the release's; only rows from {self._n_released} on change"
            )
        self._spare[rows - self._n_released] = values
        self._items.spare_changed()

    def _from_file(self, places: Rows) -> Array:
        found = np.array(self._file[places])
        fresh = places >= self._n_released
        if fresh.any():
            found[fresh] = self._spare[places[fresh] - self._n_released]
        return found


def open_item_rows(
    release_id: str, tables: Mapping[str, Array], n_released: int, tier: ItemTier, weights: Array, clock: Clock
) -> ItemRows:
    """Rows of a published release, the most popular of them at hand: `weights` (n,) says how popular each item is.

    With the store out of reach it opens without them, and rows come as they are asked for. Raises `ReleaseError` for
    a release that is not published, `SettingsError` where too few rows fit.
    """
    items = ItemRows(release_id, tables, n_released, tier, clock)
    never = Deadline.never(clock)
    try:
        (value,) = tier.store.get_many([mark_key(release_id)], never)
        mark = None if value is None else unpack_mark(value)
        if mark is None or not mark.complete or (mark.columns, mark.n_rows) != (items.layout.columns, n_released):
            raise ReleaseError(
                f"the item rows of release {release_id} are not all in the store; "
                f"run `upnext release publish {release_id}`"
            )
        items.pin(heaviest(weights, int(tier.pinned_share * n_released)), never)
    except (StoreError, msgspec.DecodeError) as error:
        _log.warning("item rows of release %s are opened without those of the most popular (%s)", release_id, error)
    return items


def heaviest(weights: Array, n: int) -> Rows:
    """(≤ n,) places of the highest `weights` above 0, the highest first."""
    known = np.flatnonzero(weights)
    if n < len(known):
        known = known[np.argpartition(-weights[known], n)[:n]] if n else known[:0]
    best: Rows = known[np.argsort(-weights[known], kind="stable")].astype(np.int64)
    return best
