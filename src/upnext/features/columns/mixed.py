"""Products of columns that say more together than each alone, for rankers that add rather than multiply."""

import numpy as np

from upnext.features.columns.core import Column
from upnext.features.look import Floats, Look

_MOST = 1e4  # far inside float16


def _bounded(values: Floats) -> Floats:
    return np.clip(values, -_MOST, _MOST).astype(np.float32, copy=False)


def _near_most(look: Look) -> Floats:
    found: Floats = look.near_session[: max(1, len(look.last5))].max(axis=0)
    return found


def _new_to_us(look: Look) -> np.float32:
    """1 for a user of whom nothing is known, falling with their interactions."""
    return np.float32(1.0 / (1.0 + look.view.n_interactions))


def _awake(look: Look) -> np.float32:
    """1 right after the user's latest event, half as much each half hour; 0 where there is none."""
    return np.float32(2.0 ** (-2.0 * look.idle_hours) if look.view.last_ms else 0.0)


COLUMNS: dict[str, Column] = {
    # the session's taste x what follows, freshness, popularity, the user's lasting taste
    "session_x_covisit": lambda look: _bounded(look.session_score * look.covisit_shares),
    "session_x_covisit_last": lambda look: _bounded(look.session_score * look.covisit_last_shares),
    "session_x_fresh": lambda look: look.session_cosine * look.fresh_week,
    "session_x_count": lambda look: _bounded(look.session_cosine * look.log_counts[:, 1]),
    "session_x_user": lambda look: look.session_cosine * look.user_cosine,
    "session_x_content": lambda look: look.session_cosine * look.content_score,
    # the session's score without what popularity explains
    "session_less_count": lambda look: _bounded(look.session_score - look.log_counts[:, 2]),
    # freshness x affinity
    "genre_x_fresh": lambda look: look.genre_match * look.fresh_week,
    "covisit_x_fresh": lambda look: look.covisit_shares * look.fresh_week,
    "content_x_fresh": lambda look: look.content_score * look.fresh_week,
    "near_x_fresh": lambda look: _near_most(look) * look.fresh_week,
    # popularity x affinity
    "genre_x_count": lambda look: _bounded(look.genre_match * look.log_counts[:, 1]),
    "near_x_count": lambda look: _bounded(_near_most(look) * look.log_counts[:, 1]),
    # for users of whom little is known: text and popularity; for others what the session says
    "content_x_new_user": lambda look: look.content_score * _new_to_us(look),
    "count_x_new_user": lambda look: _bounded(look.log_counts[:, 1] * _new_to_us(look)),
    "session_x_known_user": lambda look: _bounded(look.session_score * np.float32(np.log1p(look.view.n_interactions))),
    # in the midst of a session: the newest item; after a long pause: what the crowd does
    "last_x_awake": lambda look: look.last_item_score * _awake(look),
    "covisit_x_awake": lambda look: look.covisit_last_shares * _awake(look),
    "count_x_asleep": lambda look: _bounded(look.log_counts[:, 0] * (np.float32(1) - _awake(look))),
}
