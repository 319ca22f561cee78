"""How near a candidate is to the user and to each of the newest items, in every space of vectors."""

import numpy as np
import numpy.typing as npt

from upnext.features.columns.core import Column
from upnext.features.look import Look
from upnext.features.signals import LOOK_BACK

Floats = npt.NDArray[np.float32]
_FADE: Floats = (0.6 ** np.arange(LOOK_BACK)).astype(np.float32)


def _most(look: Look, near: Floats) -> Floats:
    m = len(look.last5)
    return near[:m].max(axis=0) if m else look.zeros


def _least(look: Look, near: Floats) -> Floats:
    m = len(look.last5)
    return near[:m].min(axis=0) if m else look.zeros


def _mean(look: Look, near: Floats) -> Floats:
    found: Floats = near.sum(axis=0) / np.float32(max(1, len(look.last5)))
    return found


def _faded(look: Look, near: Floats) -> Floats:
    weights = _FADE / _FADE[: max(1, len(look.last5))].sum()
    found: Floats = (near * weights[:, None]).sum(axis=0)
    return found


def _length(inverse: Floats) -> Floats:
    return np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0)


COLUMNS: dict[str, Column] = {
    # cosine to the second newest item in the session encoder's space, to the third, …; the newest: last_item_score
    "session_near_2": lambda look: look.near_session[1],
    "session_near_3": lambda look: look.near_session[2],
    "session_near_4": lambda look: look.near_session[3],
    "session_near_5": lambda look: look.near_session[4],
    # over the newest five: the largest, the least, the mean, and the mean with less weight for older ones
    "session_near_max": lambda look: _most(look, look.near_session),
    "session_near_min": lambda look: _least(look, look.near_session),
    "session_near_mean": lambda look: _mean(look, look.near_session),
    "session_near_faded": lambda look: _faded(look, look.near_session),
    # how much of the nearness to the newest five is due to the newest
    "session_near_turn": lambda look: look.near_session[0] - _mean(look, look.near_session),
    # the same in the two-tower space, the newest first
    "user_near_1": lambda look: look.near_user[0],
    "user_near_2": lambda look: look.near_user[1],
    "user_near_3": lambda look: look.near_user[2],
    "user_near_4": lambda look: look.near_user[3],
    "user_near_5": lambda look: look.near_user[4],
    "user_near_max": lambda look: _most(look, look.near_user),
    "user_near_min": lambda look: _least(look, look.near_user),
    "user_near_mean": lambda look: _mean(look, look.near_user),
    # the same by the items' text
    "content_near_1": lambda look: look.near_content[0],
    "content_near_2": lambda look: look.near_content[1],
    "content_near_3": lambda look: look.near_content[2],
    "content_near_4": lambda look: look.near_content[3],
    "content_near_5": lambda look: look.near_content[4],
    "content_near_max": lambda look: _most(look, look.near_content),
    "content_near_min": lambda look: _least(look, look.near_content),
    "content_near_mean": lambda look: _mean(look, look.near_content),
    # cosine of session vector and item: the direction alone, neither length nor bias
    "session_cosine": lambda look: look.session_cosine,
    # … of user vector and item
    "user_cosine": lambda look: look.user_cosine,
    # length of the item's vector in the session encoder's space, which grows with how often it was met
    "session_length": lambda look: _length(look.session_inverse),
}
