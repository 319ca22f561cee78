"""Whether the user knows the candidate already, and what retrieval says of it beyond which sources returned it."""

import numpy as np

from upnext.features.columns.core import Column
from upnext.features.look import Floats, Look

_AS_ONE = np.float32(61.0)  # the fused score of what one source of weight 1 returned first is 1 / 61


def _times(look: Look) -> Floats:
    rows, times = np.unique(look.recent, return_counts=True)
    return look.lookup(rows, np.log1p(times).astype(np.float32))


def _latest(look: Look) -> Floats:
    newest = np.array(list(dict.fromkeys(look.recent[::-1].tolist())), np.int32)
    return look.lookup(newest, (1.0 / np.arange(1, len(newest) + 1)).astype(np.float32))


COLUMNS: dict[str, Column] = {
    # log of how often it is among the recent interactions
    "repeat_times": _times,
    # 1 for the newest item, 1/2 for the one before it, …; 0 for those that are not among the recent ones
    "repeat_latest": _latest,
    # 1 where the user has seen it
    "repeat_seen": lambda look: look.lookup(look.view.seen_rows, np.ones(len(look.view.seen_rows), np.float32)),
    # the score of the merge of all sources, and its log: they fall with the rank in each source that returned it
    "fused": lambda look: look.fused * _AS_ONE,
    "fused_log": lambda look: np.log(look.fused + np.float32(1e-4)),
    # how many sources returned it
    "n_sources": lambda look: np.bitwise_count(look.sources).astype(np.float32),
}
