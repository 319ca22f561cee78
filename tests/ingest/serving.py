"""Served slates and events about them, as tests make them up."""

import numpy as np

from upnext.domain.event import Event
from upnext.ingest.served import ServedSlate

NOW_MS = 1_700_000_000_000


def slate(request_id: str, *items: str, **fields) -> ServedSlate:
    """A slate of `items` for ann; item n has cross features [n, n + 0.5], the user [1, 2, 3]."""
    items = items or ("a", "b", "c")
    cross = np.arange(len(items), dtype=np.float32)[:, None] + np.array([0, 0.5], np.float32)
    known = {
        "request_id": request_id,
        "served_ms": NOW_MS,
        "subject": "u:ann",
        "release": "r1",
        "tier": "full",
        "surface": "home",
        "state_version": 3,
        "item_ids": list(items),
        "scores": [1.0 - place / 10 for place in range(len(items))],
        "sources": [1] * len(items),
        "spec": "5bec",
        "user": np.array([1, 2, 3], np.float32).tobytes(),
        "cross": cross.tobytes(),
    }
    return ServedSlate(**(known | fields))


def event(request_id: str | None, item_id: str | None = "b", action: str = "click", **fields) -> Event:
    """Something ann did a second after the slate was served."""
    known = {"event_id": f"{request_id}/{item_id}/{action}", "timestamp_ms": NOW_MS + 1_000, "user_id": "ann"}
    return Event(**(known | {"action": action, "item_id": item_id, "request_id": request_id} | fields))
