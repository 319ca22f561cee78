"""Log and records as typed tables for other people's tools and for imports; knows nothing of files."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from upnext.domain.event import Event, Item, User
from upnext.ingest.log_interface import EventLog
from upnext.ingest.parquet import BATCH_ROWS

T = TypeVar("T")
_MOMENT = pa.timestamp("ms", tz="UTC")
_PROGRESS_EVENTS = 20_000
_NAMES = pa.dictionary(pa.int32(), pa.string())
# Named as `upnext import` finds them; absent values are null, maps JSON text.
EVENT_SCHEMA = pa.schema(
    {
        "sequence": pa.int64(),  # the event's place in the log
        "event_id": pa.string(),
        "action": _NAMES,
        "timestamp_ms": _MOMENT,
        "user_id": pa.string(),
        "session_id": pa.string(),
        "item_id": pa.string(),
        "request_id": pa.string(),
        "value": pa.float64(),
        "query": pa.string(),
        "context": pa.string(),
        "tenant": _NAMES,
        "consent": pa.bool_(),
        "producer": _NAMES,
        "schema_version": pa.int32(),
    }
)
ITEM_SCHEMA = pa.schema(
    {
        "item_id": pa.string(),
        "title": pa.string(),
        "genres": pa.list_(pa.string()),
        "text": pa.string(),
        "published_ms": _MOMENT,
        "price": pa.float64(),
        "regions": pa.list_(pa.string()),
        "available": pa.bool_(),
        "promoted": pa.bool_(),
        "attributes": pa.string(),
        "tenant": _NAMES,
        "blocked": pa.bool_(),
    }
)
USER_SCHEMA = pa.schema({"user_id": pa.string(), "attributes": pa.string(), "tenant": _NAMES})


def event_batches(
    log: EventLog,
    *,
    after: int = 0,
    last: int | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The log's events with numbers above `after` up to `last`, of moments from `since_ms` to before `until_ms`.

    By EVENT_SCHEMA, in order of numbers, at most 65,536 to a batch, which is all that is held at once. What is None
    sets no bound. `progress` is told the number read last.
    """

    def chosen() -> Iterator[tuple[int, Event]]:
        for read, (number, event) in enumerate(log.scan(after)):
            if last is not None and number > last:
                return
            if progress and read % _PROGRESS_EVENTS == 0:
                progress(number)
            if (since_ms is None or event.timestamp_ms >= since_ms) and (
                until_ms is None or event.timestamp_ms < until_ms
            ):
                yield number, event

    for rows in _batched(chosen()):
        columns = _columns([event for _, event in rows], EVENT_SCHEMA.names[1:], "context")
        yield _batch([[number for number, _ in rows], *columns], EVENT_SCHEMA)


def item_batches(items: Iterable[Item]) -> Iterator[pa.RecordBatch]:
    """Items by ITEM_SCHEMA, in their order."""
    return (_batch(_columns(rows, ITEM_SCHEMA.names, "attributes"), ITEM_SCHEMA) for rows in _batched(items))


def user_batches(users: Iterable[User]) -> Iterator[pa.RecordBatch]:
    """Users by USER_SCHEMA, in their order."""
    return (_batch(_columns(rows, USER_SCHEMA.names, "attributes"), USER_SCHEMA) for rows in _batched(users))


def _batched(records: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(records)
    while rows := list(islice(iterator, BATCH_ROWS)):
        yield rows


def _columns(records: list[Any], names: list[str], json_field: str) -> list[list[Any]]:
    """The records' fields by column; the map in `json_field` as JSON text, null where it is empty."""
    columns = {name: [getattr(record, name) for record in records] for name in names}
    columns[json_field] = [msgspec.json.encode(inner).decode() if inner else None for inner in columns[json_field]]
    return list(columns.values())


def _batch(columns: list[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
