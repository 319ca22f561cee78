"""What the crowd does with an item now, against what it did before and against what it does with others."""

import numpy as np

from upnext.features.columns.core import Column
from upnext.features.item_facts import NEVER_MS
from upnext.features.look import Floats, Look, log_share

_TOP = 2_000.0  # of the popular that trends keep in order


def _place(ranks: Floats) -> Floats:
    """1 for the first, falling evenly to 0 for those past the end."""
    known = ranks > 0
    places = 1.0 - (1.0 / np.where(known, ranks, 1.0) - 1.0) / _TOP
    return np.where(known, places, 0.0).astype(np.float32)


def _behind(look: Look, column: int) -> Floats:
    """How far the log of the count is behind that of the most popular item; 0 before anything is popular."""
    trends = look.crowd.trends
    top = (trends.popular() if column else trends.trending())[:1]
    if not len(top):
        return look.zeros
    found: Floats = look.log_counts[:, column] - np.log1p(trends.counts(top)[0, column])
    return found


def _surge(look: Look, fast: int, slow: int, ratio: float) -> Floats:
    """Log of the count by a fast half-life against `ratio` times the slow one: what an even pace would make of it."""
    counts = look.counts
    found: Floats = np.log1p(counts[:, fast]) - np.log1p(counts[:, slow] * np.float32(ratio))
    return found


def _of_name(look: Look, number: int) -> Floats:
    return look.context_shares[number] if number < len(look.context_shares) else look.zeros


COLUMNS: dict[str, Column] = {
    # count_fast - count_daily, count_daily - count_weekly: whether it rises by the day, by the week
    "trend_day": lambda look: look.log_counts[:, 0] - look.log_counts[:, 1],
    "trend_week": lambda look: look.log_counts[:, 1] - look.log_counts[:, 2],
    # the first less the second: whether it rises faster than it did
    "acceleration": lambda look: look.log_counts[:, 0] - 2 * look.log_counts[:, 1] + look.log_counts[:, 2],
    # against what the slower count makes one expect, for the default half-lives of an hour, a day and a week
    "surge_fast": lambda look: _surge(look, 0, 1, 1 / 24),
    "surge_daily": lambda look: _surge(look, 1, 2, 1 / 7),
    # root of the counts: between the count and its log
    "count_fast_root": lambda look: np.sqrt(look.counts[:, 0]),
    "count_daily_root": lambda look: np.sqrt(look.counts[:, 1]),
    "count_weekly_root": lambda look: np.sqrt(look.counts[:, 2]),
    # against the most popular item
    "behind_top_fast": lambda look: _behind(look, 0),
    "behind_top_daily": lambda look: _behind(look, 1),
    "behind_top_weekly": lambda look: _behind(look, 2),
    # log share of the item in what the crowd chooses under the same circumstances: all names, the first, the second, …
    "context": lambda look: log_share(look.context_share),
    "context_1": lambda look: log_share(_of_name(look, 1)),
    "context_2": lambda look: log_share(_of_name(look, 2)),
    "context_3": lambda look: log_share(_of_name(look, 3)),
    # how much larger that is than its share in what everybody chooses
    "context_lift": lambda look: log_share(look.context_share) - log_share(look.context_shares[0]),
    # 1 / (1 + rank) in the sources "popular" and "trending"
    "popular_rank": lambda look: look.popular_rank,
    "trending_rank": lambda look: look.trending_rank,
    # popularity by rank alone: 1 for the first, evenly down to 0 for the 2,000th
    "popular_place": lambda look: _place(look.popular_rank),
    "trending_place": lambda look: _place(look.trending_rank),
    # 1 where nobody has chosen it yet
    "never_chosen": lambda look: (look.crowd.trends.first_seen_ms.take(look.places) == NEVER_MS).astype(np.float32),
}
