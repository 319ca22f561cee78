"""A candidate's genres against those of what the user chose."""

import numpy as np

from upnext.features.columns.core import Column
from upnext.features.look import Floats, Look


def _any(look: Look, newest: int) -> Floats:
    """Mean over the item's genres of their shares among the newest interactions, of which each may have several."""
    if not len(look.recent):
        return look.zeros
    found: Floats = np.vecdot(look.hot, look.any_genre(newest)) / np.maximum(look.n_genres, 1)
    return found


def _any_max(look: Look) -> Floats:
    if not len(look.recent):
        return look.zeros
    most: Floats = (look.hot * look.any_genre(len(look.recent))).max(axis=1)
    return most


def _jaccard(look: Look, row: int) -> Floats:
    """Common genres of the item and that in `row`, of all that either has."""
    bits = look.facts.catalog.genre_bits[row]
    common, either = np.bitwise_count(look.bits & bits), np.bitwise_count(look.bits | bits)
    found: Floats = (common / np.maximum(either, 1)).astype(np.float32)
    return found


def _jaccard_last(look: Look) -> Floats:
    return _jaccard(look, int(look.last5[0])) if len(look.last5) else look.zeros


def _jaccard_mean(look: Look) -> Floats:
    rows = look.last5.tolist()
    return sum((_jaccard(look, row) for row in rows), look.zeros) / np.float32(max(1, len(rows)))


def _new(look: Look) -> Floats:
    found: Floats = ((look.n_genres > 0) & (_any_max(look) == 0)).astype(np.float32)
    return found


def _lift(look: Look) -> Floats:
    of_user, of_all = np.log(look.genre_match + 0.02), look.facts.genre_share.take(look.genre, mode="wrap")
    return np.where(look.genre >= 0, of_user - of_all, 0.0).astype(np.float32)


def _run(look: Look) -> Floats:
    """How many of the newest interactions in a row are of the newest one's genre; for items of it, else 0."""
    genres = look.facts.catalog.genre.take(look.recent[::-1])
    if not len(genres) or genres[0] < 0:
        return look.zeros
    length = int((genres != genres[0]).argmax()) or len(genres)
    found: Floats = (look.genre == genres[0]).astype(np.float32) * np.float32(length)
    return found


def _same(look: Look) -> Floats:
    return np.minimum(_run(look), 1)


COLUMNS: dict[str, Column] = {
    # share of its primary genre among the newest 5, the newest 20, and all recent ones with less weight for older ones
    "genre_last5": lambda look: look.genre_last5.take(look.genre, mode="wrap"),
    "genre_last20": lambda look: look.genre_last20.take(look.genre, mode="wrap"),
    "genre_faded": lambda look: look.genre_faded.take(look.genre, mode="wrap"),
    # any of its genres, not only the primary: mean share among the newest 5, 20 and 50, and the largest
    "genre_any_5": lambda look: _any(look, 5),
    "genre_any_20": lambda look: _any(look, 20),
    "genre_any_50": lambda look: _any(look, 50),
    "genre_any_max": _any_max,
    # genres it has in common with the newest item, of all that either has; the mean over the newest five
    "genre_overlap_last": _jaccard_last,
    "genre_overlap_mean": _jaccard_mean,
    # 1 where none of its genres is among the recent ones
    "genre_new": _new,
    # log of its primary genre's share among the recent ones against that in the catalogue
    "genre_lift": _lift,
    # 1 where its primary genre is the newest item's; and how many of it there were in a row
    "genre_same": _same,
    "genre_run": lambda look: np.log1p(_run(look)),
    # how many genres it has
    "n_genres": lambda look: look.n_genres,
}
