"""Everything a home folder knows, as arrays in catalogue rows; learns nothing."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import UNKNOWN_MS, Catalog
from upnext.domain.event import Item
from upnext.domain.identity import Keys, keys_of
from upnext.errors import DataError
from upnext.ingest.columns import EventColumns, read_columns
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import read_items, read_users
from upnext.models.tower_inputs import TowerInputs
from upnext.store.interface import Store

_MOST_FIELDS = 8  # user attributes looked at, the most frequent ones
_MOST_GENRES = 64
_DECADE_MS = 315_576_000_000


@dataclass(frozen=True)
class World:
    """One home's events and catalogue. `columns.item` are catalogue rows; `items` are in row order."""

    columns: EventColumns
    catalog: Catalog
    items: list[Item]
    user_attributes: npt.NDArray[np.int32]  # (n_users, n_fields) codes, -1 for not known
    visitors: Keys  # (n_users,) keys of the subjects
    log_sequence: int  # last event read

    @property
    def n_users(self) -> int:
        return len(self.visitors)


def load_world(
    event_log: EventLog,
    store: Store,
    progress: Callable[[int, int], None] | None = None,
    *,
    until_sequence: int | None = None,
) -> World:
    """Reads log, up to an event where asked, and records; items that only events name are in the catalogue too.

    Raises `DataError` when there is nothing to learn from.
    """
    log_sequence = event_log.last() if until_sequence is None else until_sequence
    columns = _until(read_columns(event_log, progress), log_sequence)
    items = list(read_items(store))
    known = {item.item_id for item in items}
    items += [Item(item_id=item_id) for item_id in columns.items if item_id not in known]
    if not items or not len(columns.user):
        raise DataError("there are no events to learn from; run `upnext import` first")
    catalog = Catalog.build(items)
    row_of_item = np.append(catalog.rows_of(keys_of(columns.items)), np.int32(-1))  # -1 stays -1
    in_rows = replace(columns, item=row_of_item[columns.item], items=[item.item_id for item in items])
    return World(in_rows, catalog, items, _user_attributes(columns.users, store), keys_of(columns.users), log_sequence)


def tower_inputs(world: World, content: npt.NDArray[np.float32] | None) -> TowerInputs:
    """What the two towers may look at beside identities and histories."""
    catalog = world.catalog
    genres = np.arange(min(len(catalog.genres), _MOST_GENRES - 1), dtype=np.uint64)
    multi_hot = ((catalog.genre_bits[:, None] >> genres) & np.uint64(1)).astype(np.float32)
    dated = catalog.published_ms != UNKNOWN_MS
    decades = np.where(dated, (catalog.published_ms - 946_684_800_000) / _DECADE_MS, 0.0)
    priced = np.nan_to_num(np.log1p(np.maximum(catalog.price, 0)), nan=0.0)
    side = np.column_stack([multi_hot, dated, np.clip(decades, -10, 10), priced]).astype(np.float32)
    return TowerInputs(world.user_attributes, side, content)


def _until(columns: EventColumns, last: int) -> EventColumns:
    """The columns as they were when `last` was the newest event: users and items are numbered as the log names them."""
    keep = columns.seq <= last
    if keep.all():
        return columns
    arrays = ("user", "item", "action", "timestamp_ms", "session", "value", "seq")
    kept = replace(columns, **{name: getattr(columns, name)[keep] for name in arrays})
    n_users, n_items = int(kept.user.max(initial=-1)) + 1, int(kept.item.max(initial=-1)) + 1
    return replace(kept, users=columns.users[:n_users], items=columns.items[:n_items])


def _user_attributes(subjects: list[str], store: Store) -> npt.NDArray[np.int32]:
    users = {f"u:{user.user_id}": user.attributes for user in read_users(store)}
    names = [name for name, _ in Counter(name for each in users.values() for name in each).most_common(_MOST_FIELDS)]
    codes = np.full((len(subjects), len(names)), -1, np.int32)
    for field, name in enumerate(names):
        code_of: dict[str, int] = {}
        for place, subject in enumerate(subjects):
            value = users.get(subject, {}).get(name)
            if value is not None:
                codes[place, field] = code_of.setdefault(str(value), len(code_of))
    return codes
