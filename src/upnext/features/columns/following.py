"""What tends to follow the newest items, counted as it happens."""

import numpy as np

from upnext.features.columns.core import Column
from upnext.features.look import Floats, Look, Rows, log_share


def _ranks(look: Look, rows: Rows) -> Floats:
    return look.lookup(rows, (1.0 / np.arange(1, len(rows) + 1)).astype(np.float32))


COLUMNS: dict[str, Column] = {
    # log share of the item among what follows the second newest item, the third, …; the newest: covisit_last
    "covisit_2": lambda look: log_share(look.covisit_each[1]),
    "covisit_3": lambda look: log_share(look.covisit_each[2]),
    "covisit_4": lambda look: log_share(look.covisit_each[3]),
    "covisit_5": lambda look: log_share(look.covisit_each[4]),
    # the largest of the five, as a log share
    "covisit_max": lambda look: log_share(look.covisit_each.max(axis=0)),
    # after how many of the five it has been chosen, of five
    "covisit_breadth": lambda look: (look.covisit_each > 0).mean(axis=0, dtype=np.float32),
    # the plain shares, without a log
    "covisit_share": lambda look: look.covisit_shares,
    "covisit_last_share": lambda look: look.covisit_last_shares,
    # 1 / (1 + rank) in the source "covisit"
    "covisit_rank": lambda look: _ranks(look, look.signals.covisit_rows),
    # log weight of the item in the newest sessions that held the latest items
    "knn": lambda look: log_share(look.knn_scores),
    # 1 / (1 + rank) among what those sessions held
    "knn_rank": lambda look: _ranks(look, look.signals.knn_rows),
    # weight of the item in the learnt lists of the user's items: its log, plain, and 1 / (1 + rank)
    "neighbours": lambda look: log_share(look.neighbour_scores),
    "neighbours_score": lambda look: look.neighbour_scores,
    "neighbours_rank": lambda look: _ranks(look, look.signals.neighbour_rows),
    # how much more it follows the newest item than the recent ones together
    "covisit_turn": lambda look: log_share(look.covisit_last_shares) - log_share(look.covisit_shares),
}
