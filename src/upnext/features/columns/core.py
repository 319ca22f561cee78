"""The first columns, which every ranker had before there was a choice; the flags of sources are not among them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from upnext.features.look import Look, log_share

Floats = npt.NDArray[np.float32]
Column = Callable[[Look], Floats]

COLUMNS: dict[str, Column] = {
    # dot product of the session vector and the item, bias included
    "session_score": lambda look: look.session_score,
    # dot product of the user vector and the item
    "user_score": lambda look: look.user_score,
    # cosine of the item's text and that of the recent items
    "content_score": lambda look: look.content_score,
    # cosine of the item and the newest one in the session encoder's space
    "last_item_score": lambda look: look.last_item_score,
    # log share of the item among what follows the recent items
    "covisit": lambda look: log_share(look.covisit_shares),
    # … the newest item alone
    "covisit_last": lambda look: log_share(look.covisit_last_shares),
    # log of decayed interactions of the crowd, fast half-life
    "count_fast": lambda look: look.log_counts[:, 0],
    "count_daily": lambda look: look.log_counts[:, 1],
    "count_weekly": lambda look: look.log_counts[:, 2],
    # count_fast - count_weekly
    "trend": lambda look: look.log_counts[:, 0] - look.log_counts[:, 2],
    # log of hours since the item was published, or first seen
    "age": lambda look: np.log1p(look.age_hours).astype(np.float32),
    # share of the item's primary genre among the recent interactions
    "genre_match": lambda look: look.genre_match,
}
