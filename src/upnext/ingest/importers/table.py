"""Any table of events or items whose columns can be named; knows no particular data set."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from upnext.contracts.fields import Attributes
from upnext.domain.event import Event, Item
from upnext.errors import DataError
from upnext.ingest.importers.mapping import EVENT_FIELDS, INNER, ITEM_FIELDS, Column, resolve
from upnext.ingest.importers.rows import Row, Rows, open_rows
from upnext.ingest.importers.source import Record, rejected
from upnext.ingest.importers.values import absent, flag_of, id_of, labels_of, moment_ms, number_of, published_ms

# What each field's cell becomes; raises `ValueError` for a cell that cannot be it.
_EVENT_VALUES: dict[str, Callable[[Any], Any]] = {
    "timestamp_ms": moment_ms,
    "value": number_of,
    "consent": lambda cell: flag_of(cell, True),
}
_ITEM_VALUES: dict[str, Callable[[Any], Any]] = {
    "genres": labels_of,
    "regions": labels_of,
    "published_ms": published_ms,
    "price": number_of,
    "available": lambda cell: flag_of(cell, True),
    "promoted": lambda cell: flag_of(cell, False),
}
_JSON_MAP = msgspec.json.Decoder(dict[str, Any])


class Table:
    """Events from one table and, if given, items from another, in the order of their rows.

    Dates are ISO or numbers in any unit (see `values.moment_ms`); a row without one is rejected. Genres and regions
    are lists or text separated by `|`, `;` or `,`. Event ids are the column mapped to `event_id`, or else the file's
    name and line, so a table must keep its name and order to be imported twice without doubles.
    """

    def __init__(
        self,
        events: Path | None,
        mapping: Mapping[str, str] | None = None,
        items: Path | None = None,
        items_mapping: Mapping[str, str] | None = None,
    ) -> None:
        """Opens the tables and finds their columns; raises `DataError` when one that is needed is not there."""
        self.line = 0
        self.format = "table" if events else "items"
        self._events = open_rows(events) if events else None
        self._items = open_rows(items) if items else None
        self._event_name = events.name if events else ""
        if self._events:
            self._event_columns = resolve(mapping or {}, self._events.columns, EVENT_FIELDS)
            _require(self._event_columns, ("action", "timestamp_ms"), self._events, "--map")
            if not self._event_columns.keys() & {"user_id", "session_id"}:
                _require(self._event_columns, ("user_id",), self._events, "--map")
        if self._items:
            self._item_columns = resolve(items_mapping or {}, self._items.columns, ITEM_FIELDS)
            _require(self._item_columns, ("item_id",), self._items, "--items-map")

    @property
    def rows_read(self) -> int:
        return sum(rows.rows_read for rows in (self._items, self._events) if rows)

    def fraction_read(self) -> float:
        parts = [rows.fraction_read() for rows in (self._items, self._events) if rows]
        return sum(parts) / len(parts) if parts else 1.0

    def records(self) -> Iterator[Record]:
        if self._items:
            yield from self._read(self._items, self._item_columns, self._item)
        if self._events:
            yield from self._read(self._events, self._event_columns, self._event)

    def _read(
        self, rows: Rows, columns: Mapping[str, Column], make: Callable[[Row, Mapping[str, Column]], Record]
    ) -> Iterator[Record]:
        for line, row in rows:
            self.line = line
            if not isinstance(row, dict):
                yield row
                continue
            try:
                yield make(row, columns)
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                yield rejected(line, "bad_value", f"has a bad field: {error}")

    def _event(self, row: Row, columns: Mapping[str, Column]) -> Record:
        fields = _fields(row, columns, _EVENT_VALUES, "context")
        if "timestamp_ms" not in fields:
            return rejected(self.line, "missing_timestamp", "says nothing of when it happened")
        if "action" not in fields:
            return rejected(self.line, "missing_action", "says nothing of what happened")
        fields.setdefault("event_id", f"table:{self._event_name}:{self.line}")
        return Event(**fields)

    def _item(self, row: Row, columns: Mapping[str, Column]) -> Record:
        fields = _fields(row, columns, _ITEM_VALUES, "attributes")
        if "item_id" not in fields:
            return rejected(self.line, "missing_item", "names no item")
        return Item(**fields)


def _fields(
    row: Row, columns: Mapping[str, Column], values: Mapping[str, Callable[[Any], Any]], inner: str
) -> dict[str, Any]:
    """The fields a row has; those mapped to `inner.name`, and the map in a column `inner` itself, as one map."""
    fields: dict[str, Any] = {}
    inside: dict[str, Any] = {}
    for field, column in columns.items():
        cell = column.name if column.constant else row.get(column.name)
        if absent(cell):
            continue
        inner_name = INNER.match(field)
        if inner_name:
            inside[inner_name.group(2)] = cell
        elif field == inner:
            inside.update(cell if isinstance(cell, dict) else _JSON_MAP.decode(str(cell)))
        else:
            value_of: Callable[[Any], Any] = values.get(field, id_of)
            fields[field] = value_of(cell)
    if inside:
        fields[inner] = msgspec.convert(inside, Attributes)
    return fields


def _require(columns: Mapping[str, Column], fields: tuple[str, ...], rows: Rows, option: str) -> None:
    for field in fields:
        if field not in columns:
            short = field.removesuffix("_id").removesuffix("_ms")
            have = ", ".join(rows.columns)
            advice = f"say {option} {short}=COLUMN" + (f", or {option} action==view" if field == "action" else "")
            raise DataError(f"no column looks like {field} among {have}; {advice}")
