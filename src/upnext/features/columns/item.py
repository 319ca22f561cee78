"""What an item is whoever asks and whenever: the item side of the ranker, worked out when a release is made."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from upnext.features.item_facts import NEVER_MS, ItemFacts

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Fact = Callable[[ItemFacts, Rows], npt.NDArray[np.floating]]


def _length(inverse: Floats) -> Floats:
    return np.log1p(np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0))


FACTS: dict[str, Fact] = {
    # log of the share of its primary genre in the catalogue
    "genre_share": lambda facts, rows: facts.genre_share.take(facts.catalog.genre[rows], mode="wrap"),
    "genre_count": lambda facts, rows: np.bitwise_count(facts.catalog.genre_bits[rows]).astype(np.float32),
    # place of its price among those of its genre, -0.5 … 0.5, 0 where not known
    "price_in_genre": lambda facts, rows: facts.price_rank[rows],
    "price_known": lambda facts, rows: (~np.isnan(facts.log_price[rows])).astype(np.float32),
    "published_known": lambda facts, rows: (facts.published_ms[rows] != NEVER_MS).astype(np.float32),
    "promoted": lambda facts, rows: facts.catalog.promoted[rows].astype(np.float32),
    # 1 where it may be shown in every region
    "unrestricted": lambda facts, rows: facts.catalog.unrestricted[rows].astype(np.float32),
    # log of the length of its vectors, which grows with how often an encoder met it
    "session_length_log": lambda facts, rows: _length(facts.inverse_session[rows]),
    "user_length_log": lambda facts, rows: _length(facts.inverse_user[rows]),
}
