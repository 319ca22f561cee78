"""What became of each item that was chosen: completed, liked, disliked; reads only events it may know of."""

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE
from upnext.ingest.columns import EventColumns
from upnext.models.ranker_config import LABELLED_TASKS
from upnext.training.splits import Mask, Split

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
LIKED, DISLIKED = 4.0, 2.0
"""Ratings from this one up, and down to this one."""
_RATING_STEPS = 0.5 * np.arange(1, 11)  # ½ to 5 stars


def may_be_known(columns: EventColumns, split: Split) -> Mask:
    """(n_events,) bool: events whose like or dislike a label may look at, so that no case of `split` is given away.

    Of each user what stands before their case; in a split by time, moreover, only what stands before all cases. Where
    the ranker learns from the cases themselves nothing is held out, and all may be known.
    """
    if split.ranker[split.case_events].all():
        return np.ones(len(columns), np.bool_)
    first_case = np.full(len(columns.users), len(columns), np.int64)
    np.minimum.at(first_case, split.case_users, split.case_events)
    places = np.arange(len(columns))
    known: Mask = places < first_case[columns.user]
    if split.name == "by_time":
        known &= places < split.case_events.min(initial=len(columns))
    return known


def task_labels(columns: EventColumns, events: Indices, known: Mask) -> Floats:
    """(n, len(LABELLED_TASKS)) float32: 1, 0 or NaN (not known) for each of `events`, interactions with an item.

    A task is 1 where this event or a later one of the same user with the same item, among `known`, is that action. It
    is 0 where it is not, though the known part of the log has that action of somebody, and NaN where it never has it.
    Where the values of plays are ratings (all of them are whole or half stars up to 5), 4 and more are likes and 2 and
    less dislikes, and an event without a rating says nothing of either.
    """
    labels = np.full((len(events), len(LABELLED_TASKS)), np.nan, np.float32)
    ratings = _ratings(columns, known)
    for column, task in enumerate(LABELLED_TASKS):
        done = known & (columns.action == ACTION_CODE[task]) & (columns.item >= 0)
        own = ratings[events]
        if done.any():
            labels[:, column] = _happens_later(columns, events, done)
        if task == "complete" or np.isnan(ratings).all():
            continue
        rated = own >= LIKED if task == "like" else own <= DISLIKED
        told = ~np.isnan(own)
        labels[:, column] = np.where(told, np.fmax(labels[:, column], rated), labels[:, column])
    return labels


def _ratings(columns: EventColumns, known: Mask) -> Floats:
    """(n_events,) float32: the stars of each play, all NaN where values of plays are something else."""
    plays = known & (columns.action == ACTION_CODE["play"])
    values = np.where(plays, columns.value, np.nan)
    told = values[~np.isnan(values)]
    stars = len(told) > 0 and bool(np.isin(told, _RATING_STEPS).all())
    return values.astype(np.float32) if stars else np.full(len(columns), np.nan, np.float32)


def _happens_later(columns: EventColumns, events: Indices, done: Mask) -> Mask:
    """(n,) bool: whether one of `done`, by the same user with the same item, is the event itself or comes after it."""
    n_items = len(columns.items) + 1
    pair = columns.user.astype(np.int64) * n_items + columns.item
    marked = np.flatnonzero(done)
    pairs, last = np.unique(pair[marked][::-1], return_index=True)  # reversed: the first found is the last in time
    newest = marked[::-1][last]
    at = np.minimum(np.searchsorted(pairs, pair[events]), max(len(pairs) - 1, 0))
    found: Mask = (pairs[at] == pair[events]) & (newest[at] >= events)
    return found
