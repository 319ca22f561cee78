"""What engineered inputs ask of items again and again, as arrays by row; knows no user and no request."""

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import UNKNOWN_MS, Catalog
from upnext.features.item_vectors import ItemVectors
from upnext.features.scratch import Scratch

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
NEVER_MS = np.iinfo(np.int64).max
_MOST_PRICE = 1e12  # past that all are alike
_MOST_YEARS = 200.0
_YEAR_2000_MS = 946_684_800_000
_YEAR_MS = 365.25 * 86_400_000


class ItemFacts:
    """Facts of all items of one release, kept up to date by `changed`.

    published_ms (n_items,) int64, NEVER_MS where not known · inverse_session, inverse_user (n_items,) float32: 1 / the
    length of the item's vector without bias, 0 where it has none · log_price (n_items,) float32, NaN where not known ·
    price_rank (n_items,) float32: -0.5 … 0.5, the place of its price in its primary genre, 0 where not known ·
    genre_share (n_genres + 1,) float32: log share of each primary genre in the catalogue, the last 0.
    """

    def __init__(self, catalog: Catalog, vectors: ItemVectors, *, more: bool) -> None:
        """Without `more` there are only the first two: what today's default inputs ask for."""
        self.catalog = catalog
        self.vectors = vectors
        self.scratch = Scratch(catalog.n_items)
        self.published_ms = _or_never(catalog.published_ms)
        self.inverse_session = _inverse_norms(vectors.session, catalog.n_items, bias=True)
        self._more = more
        if more:
            self.inverse_user = _inverse_norms(vectors.user, catalog.n_items, bias=False)
            self.log_price = _log_price(catalog.price)
            self._prices_of = _sorted_prices(self.log_price, catalog.genre)
            self.price_rank = self._ranked(np.arange(catalog.n_items, dtype=np.int32))
            self.genre_share = _genre_share(catalog)

    def changed(self, rows: Rows) -> None:
        """Takes over what catalogue and vectors say of `rows` now; ranks and shares stay those of the release."""
        catalog, vectors = self.catalog, self.vectors
        self.published_ms[rows] = _or_never(catalog.published_ms[rows])
        if vectors.session is not None:
            self.inverse_session[rows] = _inverse_norms(vectors.session[rows], len(rows), bias=True)
        if not self._more:
            return
        if vectors.user is not None:
            self.inverse_user[rows] = _inverse_norms(vectors.user[rows], len(rows), bias=False)
        self.log_price[rows] = _log_price(catalog.price[rows])
        self.price_rank[rows] = self._ranked(rows)

    def years(self, rows: npt.NDArray[np.integer]) -> Floats:
        """(n,) years since 2000 that items were published in, NaN where not known; at most 200 away."""
        published_ms = self.published_ms.take(rows)
        years = np.clip((published_ms - _YEAR_2000_MS) / _YEAR_MS, -_MOST_YEARS, _MOST_YEARS)
        return np.where(published_ms == NEVER_MS, np.nan, years).astype(np.float32)

    def _ranked(self, rows: Rows) -> Floats:
        """(n,) the share of its genre's prices that are below an item's, half of the equal ones with them, less 0.5."""
        ranks = np.zeros(len(rows), np.float32)
        genres, prices = self.catalog.genre[rows], self.log_price[rows]
        for genre in np.unique(genres[~np.isnan(prices)]).tolist():
            known = self._prices_of.get(genre)
            if known is not None:
                of_genre = ((genres == genre) & ~np.isnan(prices)).nonzero()[0]
                below = known.searchsorted(prices[of_genre], "left") + known.searchsorted(prices[of_genre], "right")
                ranks[of_genre] = below / (2.0 * len(known)) - 0.5
        return ranks


def _or_never(published_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.where(published_ms == UNKNOWN_MS, NEVER_MS, published_ms)


def _inverse_norms(table: Floats | None, n_items: int, *, bias: bool) -> Floats:
    """1 / length of each item's vector, its last place left out where that is a `bias`; 0 for items without one."""
    if table is None:
        return np.zeros(n_items, np.float32)
    vectors = table[:, :-1] if bias else table[:, :]
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    inverse: Floats = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)
    return inverse


def _log_price(price: Floats) -> Floats:
    known: Floats = np.log1p(np.clip(price, 0, _MOST_PRICE)).astype(np.float32)  # NaN stays NaN
    return known


def _sorted_prices(log_price: Floats, genre: npt.NDArray[np.int16]) -> dict[int, Floats]:
    """The known prices of each primary genre (-1: none), rising."""
    known = (~np.isnan(log_price)).nonzero()[0]
    order = known[np.lexsort((log_price[known], genre[known]))]
    genres, begins = np.unique(genre[order], return_index=True)
    return dict(zip(genres.tolist(), np.split(log_price[order], begins[1:]), strict=True)) if len(order) else {}


def _genre_share(catalog: Catalog) -> Floats:
    counts = np.bincount(catalog.genre[: catalog.n_released] + 1, minlength=len(catalog.genres) + 1)[1:]
    shares = np.zeros(len(counts) + 1, np.float32)
    shares[:-1] = np.log((counts + 1.0) / (catalog.n_released + 1.0))
    return shares
