"""Raw facts to the ranker's input arrays: the only place where they are joined, for training and serving alike.

No value is NaN; what is not known is 0.
"""

import math

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import UNKNOWN_MS, Catalog
from upnext.features.columns.item import FACTS
from upnext.features.columns.user import NUMBERS
from upnext.features.item_facts import ItemFacts
from upnext.features.item_vectors import ItemVectors
from upnext.features.look import Look
from upnext.features.person import Person
from upnext.features.signals import LOOK_BACK, Signals
from upnext.features.spec import COLUMNS, FLAG_BIT, ITEM, USER, Chosen, FeatureSpec, feature_spec
from upnext.features.user_view import UserView
from upnext.settings import DAY_MS
from upnext.state.crowd import Crowd
from upnext.state.trends import ItemTrends

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Sources = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_YEAR_2000_MS = 946_684_800_000
_DEFAULT = Chosen()


class Assembler:
    """Assembles the inputs of one release's ranker: the columns that were chosen, and no others."""

    def __init__(self, catalog: Catalog, vectors: ItemVectors, chosen: Chosen = _DEFAULT) -> None:
        """Raises `KeyError` for a name that has no formula: see `Chosen.unknown`."""
        self._catalog = catalog
        self._vectors = vectors
        self._session_dim = vectors.session.shape[1] - 1 if vectors.session is not None else 0
        self._user_dim = vectors.user.shape[1] if vectors.user is not None else 0
        self.chosen = chosen
        self.spec: FeatureSpec = feature_spec(
            user_dim=self._user_dim, session_dim=self._session_dim, genres=catalog.genres, chosen=chosen
        )
        self._n_genres = sum(name.startswith("genre:") for name in self.spec.user)
        self._facts = ItemFacts(catalog, vectors, more=chosen != _DEFAULT)
        self._published_ms, self._inverse_norms = self._facts.published_ms, self._facts.inverse_session
        self._plan = [(place, COLUMNS[name]) for place, name in enumerate(chosen.cross) if name not in FLAG_BIT]
        self._flags = _flag_tables(chosen.cross)
        self._numbers = [NUMBERS[name] for name in chosen.user if name not in USER]
        self._item_facts = [FACTS[name] for name in chosen.item if name not in ITEM]
        self.looks_back = LOOK_BACK if chosen != _DEFAULT else 1
        """Of how many of the newest items the vectors are read beside those of the candidates."""

    def items_changed(self, rows: Rows) -> None:
        """Takes over what catalogue and vectors say of `rows` now."""
        self._facts.changed(rows)

    def user(self, view: UserView, signals: Signals, crowd: Crowd | None = None) -> Floats:
        """(n_user_features,) float32 of one request; the `crowd` must be told where more than `USER` was chosen."""
        features = np.zeros(len(self.spec.user), np.float32)
        at = self._user_dim
        if len(view.user_vector):
            features[:at] = view.user_vector
        if len(view.session_vector):
            features[at : at + self._session_dim] = view.session_vector
        at += self._session_dim
        features[at] = math.log1p(view.n_interactions)
        at += 1
        if self._numbers:
            assert crowd is not None
            person = Person(self._facts, view, signals, crowd)
            features[at : at + len(self._numbers)] = [number(person) for number in self._numbers]
            at += len(self._numbers)
        features[at:] = signals.genre_profile[: self._n_genres]
        return features

    def cross(
        self, view: UserView, signals: Signals, rows: Rows, sources: Sources, crowd: Crowd, fused: Floats | None = None
    ) -> Floats:
        """(n_candidates, n_cross_features) float32, each row independent of the other candidates.

        `sources` (n_candidates,) uint8 or uint16 has a bit for every source that returned the candidate; `fused`
        (n_candidates,) is its score in the merge of the sources, None where there was none.
        """
        low, high = self._flags
        if high is None:
            features = low.take(sources, axis=0, mode="wrap")
        else:
            features = low.take(sources & 255, axis=0)
            features += high.take(sources >> 8, axis=0)
        look = Look(self._facts, view, signals, crowd, rows, sources, fused)
        for place, column in self._plan:
            features[:, place] = column(look)
        return features

    def items(self, trends: ItemTrends, rows: Rows | None = None) -> Floats:
        """(n_rows, n_item_features) float32: the item side of `rows`, or of all items, as of this moment."""
        catalog, vectors = self._catalog, self._vectors
        chosen = slice(None) if rows is None else rows  # all without copying what may be large
        rows = np.arange(catalog.n_items, dtype=np.int32) if rows is None else rows
        features = np.zeros((len(rows), len(self.spec.item)), np.float32)
        at = self._user_dim
        if vectors.user is not None:
            features[:, :at] = vectors.user[chosen]
        if vectors.session is not None:
            features[:, at : at + self._session_dim + 1] = vectors.session[chosen]
        at += self._session_dim + 1
        learnt = self._inverse_norms[chosen] > 0
        # An item without a vector had not been chosen before the lists that the ranker learnt from: nor has it here.
        features[:, at] = np.log1p(trends.counts(rows)[:, 2]) * (learnt | (vectors.session is None))
        published_ms = catalog.published_ms[chosen]
        known = published_ms != UNKNOWN_MS
        features[known, at + 1] = (published_ms[known] - _YEAR_2000_MS) / (3_652.5 * DAY_MS)
        features[:, at + 2] = np.nan_to_num(np.log1p(np.maximum(catalog.price[chosen], 0)), nan=0.0)
        features[:, at + 3] = learnt
        at += len(ITEM)
        for fact in self._item_facts:
            features[:, at] = fact(self._facts, rows)
            at += 1
        bits = np.arange(self._n_genres, dtype=np.uint64)
        features[:, at:] = (catalog.genre_bits[chosen, None] >> bits) & np.uint64(1)
        if vectors.unlearnt is not None:
            self._unlearn(features, *vectors.unlearnt.find(rows))
        return features

    def _unlearn(self, features: Floats, places: npt.NDArray[np.intp], numbers: npt.NDArray[np.intp]) -> None:
        """Makes the items at `places`, of these numbers among `unlearnt`, what the ranker knew their like as."""
        unlearnt = self._vectors.unlearnt
        assert unlearnt is not None
        user, at = unlearnt.user[numbers], self._user_dim
        features[places, :at] = user
        features[places, at : at + self._session_dim + 1] = unlearnt.session
        for name in ("count_weekly", "learnt"):
            features[places, self.spec.item.index(name)] = 0.0
        for name, length in (("session_length_log", 0.0), ("user_length_log", np.log1p(np.linalg.norm(user, axis=1)))):
            if name in self.spec.item:
                features[places, self.spec.item.index(name)] = length


def _flag_tables(names: tuple[str, ...]) -> tuple[Floats, Floats | None]:
    """For each value of the low and of the high byte of `sources`, a row with its flags alone.

    None for the high byte where no flag is of it.
    """
    table = np.zeros((2, 256, len(names)), np.float32)
    for place, name in enumerate(names):
        if name in FLAG_BIT:
            byte, bit = divmod(FLAG_BIT[name].bit_length() - 1, 8)
            table[byte, :, place] = (np.arange(256) >> bit) & 1
    return table[0], table[1] if table[1].any() else None
