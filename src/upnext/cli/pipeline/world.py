"""Everything a home folder knows, as arrays in catalogue rows; learns nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from upnext.catalog.catalog import Catalog
from upnext.domain.event import Item, User
from upnext.domain.identity import Keys, keys_of, subject_of
from upnext.errors import DataError
from upnext.ingest.columns import EventColumns, read_columns
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records


@dataclass(frozen=True)
class World:
    """One home's events and catalogue. `columns.item` are catalogue rows; `items` are in row order."""

    columns: EventColumns
    catalog: Catalog
    items: list[Item]
    users: list[User | None]  # of `columns.users`, None where nothing but events is known
    visitors: Keys  # (n_users,) keys of the subjects
    log_sequence: int  # last event read
    records_revision: int  # changes of items up to this one are in; later ones may be

    @property
    def n_users(self) -> int:
        return len(self.visitors)


def load_world(
    event_log: EventLog,
    records: Records,
    progress: Callable[[int, int], None] | None = None,
    *,
    contexts: Sequence[str] = (),
    until_sequence: int | None = None,
) -> World:
    """Reads log, up to an event where asked, and records; items that only events name are in the catalogue too.

    Deleted items are not, whatever events name them: those events stay, with -1 for the item. `contexts`: names of
    circumstances to be read of events, too.
    Raises `DataError` when there is nothing to learn from.
    """
    log_sequence = event_log.last() if until_sequence is None else until_sequence
    columns = _until(read_columns(event_log, progress, contexts=contexts), log_sequence)
    revision = records.revision()
    items = list(records.items())
    known = {item.item_id for item in items}.union(records.deleted_items())
    items += [Item(item_id=item_id) for item_id in columns.items if item_id not in known]
    if not items or not len(columns.user):
        raise DataError("there are no events to learn from; run `upnext import` first")
    catalog = Catalog.build(items)
    row_of_item = np.append(catalog.rows_of(keys_of(columns.items)), np.int32(-1))  # -1 stays -1
    in_rows = replace(columns, item=row_of_item[columns.item], items=[item.item_id for item in items])
    return World(
        in_rows, catalog, items, _users(columns.users, records), keys_of(columns.users), log_sequence, revision
    )


def _until(columns: EventColumns, last: int) -> EventColumns:
    """The columns as they were when `last` was the newest event: users and items are numbered as the log names them."""
    keep = columns.seq <= last
    if keep.all():
        return columns
    arrays = ["user", "item", "action", "timestamp_ms", "session", "value", "seq"]
    arrays += ["context"] if columns.context.size else []
    kept = replace(columns, **{name: getattr(columns, name)[keep] for name in arrays})
    n_users, n_items = int(kept.user.max(initial=-1)) + 1, int(kept.item.max(initial=-1)) + 1
    return replace(kept, users=columns.users[:n_users], items=columns.items[:n_items])


def _users(subjects: list[str], records: Records) -> list[User | None]:
    known = {subject_of(user.user_id, None): user for user in records.users()}
    return [known.get(subject) for subject in subjects]
