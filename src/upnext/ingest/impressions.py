"""Served slates and what became of them as columns, one row per item shown; knows nothing of files or models."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from upnext.domain.identity import key_of
from upnext.ingest.served import JoinedSlate

_BATCH_ROWS = 20_000
# One row per request and position. Null is "not known", "did not happen", "no such feature".
SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("served_ms", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("subject", pa.uint64()),  # key of the user or session, not the id; null for nobody in particular
        pa.field("release", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("surface", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),  # in the slate, from 0
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("sources", pa.uint16(), nullable=False),  # a bit for every source that returned the item
        pa.field("impressed", pa.bool_(), nullable=False),  # whether an event says that it came into view
        pa.field("shown_position", pa.int32()),  # where, as that event says
        pa.field("outcome", pa.string()),  # the first thing done with it; a dislike only where nothing else was
        pa.field("outcome_value", pa.float64()),
        pa.field("outcome_delay_ms", pa.int64()),  # from serving to outcome
        pa.field("features", pa.string()),  # digest of the names of the features
        pa.field("cross", pa.list_(pa.float32())),  # null for an item that was not ranked
        pa.field("user", pa.list_(pa.float32())),  # at position 0 alone: the same for the whole slate
    ]
)


def impression_batches(slates: Iterable[JoinedSlate], batch_rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of `slates` in their order, by `SCHEMA`, in batches of at least `batch_rows` but for the last."""
    rows: list[dict[str, Any]] = []
    for joined in slates:
        rows += _rows(joined)
        if len(rows) >= batch_rows:
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)
            rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows, SCHEMA)


def _rows(joined: JoinedSlate) -> Iterator[dict[str, Any]]:
    slate, cross = joined.slate, joined.slate.cross_features()
    shown, done = joined.impressions(), joined.dislikes() | joined.choices()
    of_slate = {
        "request_id": slate.request_id,
        "served_ms": slate.served_ms,
        "subject": None if slate.subject is None else key_of(slate.subject),
        "release": slate.release,
        "tier": slate.tier,
        "surface": slate.surface,
        "features": slate.spec or None,
    }
    for position, item_id in enumerate(slate.item_ids):
        impression, outcome = shown.get(item_id), done.get(item_id)
        features = cross[position]
        yield of_slate | {
            "position": position,
            "item_id": item_id,
            "score": slate.scores[position],
            "sources": slate.sources[position],
            "impressed": impression is not None,
            "shown_position": impression.position if impression else None,
            "outcome": outcome.action if outcome else None,
            "outcome_value": outcome.value if outcome else None,
            "outcome_delay_ms": outcome.timestamp_ms - slate.served_ms if outcome else None,
            "cross": features.tolist() if len(features) and np.isfinite(features).all() else None,
            "user": slate.user_features().tolist() if position == 0 and slate.user else None,
        }
