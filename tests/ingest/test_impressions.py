"""One row per item shown, with what became of it."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from tests.ingest.serving import NOW_MS, slate
from upnext.domain.identity import key_of
from upnext.ingest.impressions import SCHEMA, impression_batches
from upnext.ingest.served import JoinedSlate, Outcome


def outcome(item_id: str, action: str, after_ms: int = 1_000, **fields) -> Outcome:
    return Outcome(item_id=item_id, action=action, timestamp_ms=NOW_MS + after_ms, subject=1, **fields)


def rows_of(*slates: JoinedSlate) -> list[dict[str, object]]:
    return [row for batch in impression_batches(slates) for row in batch.to_pylist()]


def test_every_item_shown_is_a_row_with_all_that_is_known():
    joined = JoinedSlate(
        slate("r"),
        [
            outcome("a", "impression", position=4),
            outcome("b", "purchase", 2_000, value=9.5),
            outcome("b", "click", 700),
            outcome("c", "dislike"),
            outcome("z", "click"),
        ],
    )
    first, second, third = rows_of(joined)
    assert first == {
        "request_id": "r",
        "served_ms": datetime.fromtimestamp(NOW_MS / 1_000, UTC),
        "subject": key_of("u:ann"),
        "release": "r1",
        "tier": "full",
        "surface": "home",
        "position": 0,
        "item_id": "a",
        "score": 1.0,
        "sources": 1,
        "impressed": True,
        "shown_position": 4,
        "outcome": None,
        "outcome_value": None,
        "outcome_delay_ms": None,
        "features": "5bec",
        "cross": [0, 0.5],
        "user": [1, 2, 3],
    }
    assert (second["item_id"], second["position"], second["impressed"], second["user"]) == ("b", 1, False, None)
    assert (second["outcome"], second["outcome_value"], second["outcome_delay_ms"]) == ("click", None, 700)
    assert second["cross"] == [1, 1.5]
    assert (third["outcome"], third["outcome_delay_ms"]) == ("dislike", 1_000)


def test_an_item_both_disliked_and_chosen_counts_as_chosen():
    joined = JoinedSlate(slate("r"), [outcome("b", "dislike", 1), outcome("b", "play", 2)])
    assert [row["outcome"] for row in rows_of(joined)] == [None, "play", None]


def test_what_is_absent_is_null():
    bare = slate("r", subject=None, spec="", user=b"", cross=b"")
    for row in rows_of(JoinedSlate(bare, [])):
        assert [row[name] for name in ("subject", "features", "cross", "user", "outcome")] == [None] * 5
    unranked = np.array([[1, 2], [np.nan, np.nan], [3, 4]], np.float32)
    rows = rows_of(JoinedSlate(slate("r", cross=unranked.tobytes()), []))
    assert [row["cross"] for row in rows] == [[1, 2], None, [3, 4]]


def test_batches_are_of_one_schema_and_split_no_slate():
    slates = [JoinedSlate(slate(f"r{number}"), []) for number in range(5)]
    batches = list(impression_batches(iter(slates), batch_rows=4))
    assert [batch.num_rows for batch in batches] == [6, 6, 3]
    assert all(batch.schema == SCHEMA for batch in batches)
    table = pa.Table.from_batches(batches)
    assert table["request_id"].to_pylist() == [f"r{number}" for number in range(5) for _ in range(3)]
    assert list(impression_batches([])) == []
