"""Small logs as columns."""

from collections.abc import Callable

import numpy as np
import pytest

from upnext.domain.event import ACTION_CODE
from upnext.ingest.columns import EventColumns

Click = tuple[str, str | None, int] | tuple[str, str | None, int, str] | tuple[str, str | None, int, str, int]
"""user, item or None, timestamp_ms, action ("click" when absent), session key (0 when absent)."""


def as_columns(clicks: list[Click]) -> EventColumns:
    """The clicks as EventColumns, stably sorted by time; users and items numbered in alphabetical order."""
    full = sorted((tuple(click) + ("click", 0)[len(click) - 3 :] for click in clicks), key=lambda click: click[2])
    users = sorted({click[0] for click in full})
    items = sorted({click[1] for click in full if click[1] is not None})
    return EventColumns(
        user=np.array([users.index(click[0]) for click in full], np.int32),
        users=users,
        item=np.array([-1 if click[1] is None else items.index(click[1]) for click in full], np.int32),
        items=items,
        action=np.array([ACTION_CODE[click[3]] for click in full], np.uint8),
        timestamp_ms=np.array([click[2] for click in full], np.int64),
        session=np.array([click[4] for click in full], np.uint64),
        value=np.full(len(full), np.nan, np.float32),
        seq=np.arange(1, len(full) + 1, dtype=np.int64),
    )


@pytest.fixture(scope="session")
def columns_of() -> Callable[[list[Click]], EventColumns]:
    return as_columns


@pytest.fixture(scope="session")
def random_columns() -> Callable[[int], EventColumns]:
    """Columns of 600 events drawn by a seed: 30 users, 25 items, many equal time stamps, some other actions."""

    def build(seed: int) -> EventColumns:
        rng = np.random.default_rng(seed)
        actions = rng.choice(["click", "play", "impression", "search"], 600, p=[0.5, 0.3, 0.1, 0.1])
        return as_columns(
            [
                (
                    f"u{rng.integers(30):02}",
                    None if action == "search" else f"i{rng.integers(25):02}",
                    int(rng.integers(200)),
                    str(action),
                    int(rng.integers(1, 90)),
                )
                for action in actions
            ]
        )

    return build
