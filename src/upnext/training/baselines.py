"""What every model must beat: popularity, counts of what follows what, neighbours, factorised clicks; no networks."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from upnext.ingest.columns import EventColumns
from upnext.training.evaluate import System
from upnext.training.linear_models import user_items_of
from upnext.training.sequences import Sequences
from upnext.training.splits import Cases, Mask
from upnext.training.top_rows import Rows, top_rows, without_seen

Scores = npt.NDArray[np.float32]

RECENT_MS = 7 * 24 * 3_600_000
RECENT_SHARE = 0.1
"""`popular_recent` counts the last seven days, or the newest tenth of the training period when that is shorter."""


class Scored:
    """A system that gives every item of the catalogue a score, case by case."""

    def __init__(self, name: str, score: Callable[[Cases], Scores]) -> None:
        """`score` maps cases to a new array (n_cases, n_items) float32, -inf for items that must not be shown."""
        self.name = name
        self.score = score

    def rank(self, cases: Cases, k: int) -> Rows:
        scores = self.score(cases)
        return top_rows(without_seen(scores, cases.histories) if cases.drop_seen else scores, k)


def popular(columns: EventColumns, train: Mask) -> System:
    """The same order for everyone: most training interactions first."""
    return _by_count("popular", columns, train)


def popular_recent(columns: EventColumns, train: Mask) -> System:
    """The same order for everyone: most interactions in the newest part of the training period; see RECENT_MS."""
    times = columns.timestamp_ms[train]
    span_ms = min(RECENT_MS, (int(times[-1]) - int(times[0])) * RECENT_SHARE)
    return _by_count("popular_recent", columns, train & (columns.timestamp_ms >= times[-1] - span_ms))


def covisit(columns: EventColumns, train: Mask) -> System:
    """A first-order Markov chain: most often the same user's next interaction after the case's last item.

    Items never seen after it follow in order of popularity, as all do for a case without history.
    """
    users, items = _by_user(columns, train)
    follows = users[1:] == users[:-1]
    n_items = len(columns.items)
    nexts = _count_matrix(items[:-1][follows], items[1:][follows], (n_items, n_items))
    counts = np.bincount(items, minlength=n_items)
    fallback = (counts / (counts.max() + 1)).astype(np.float32)  # below one count, so it only orders ties

    def score(cases: Cases) -> Scores:
        last = _last_items(cases.histories)
        scores = np.zeros((len(cases), n_items), dtype=np.float32)
        scores[last >= 0] = nexts[last[last >= 0]].toarray()
        return np.asarray(scores + fallback)

    return Scored("covisit", score)


def item_knn(columns: EventColumns, train: Mask, *, neighbours: int = 200) -> System:
    """Items that share users with those of the history: BM25-weighted overlap of users, summed over the history.

    Each item keeps its nearest `neighbours` (Sarwar et al., WWW 2001; BM25 so that heavy users count less).
    """
    from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight

    model = ItemItemRecommender(K=neighbours, num_threads=2)
    model.fit(bm25_weight(_user_items(columns, train)).tocsr(), show_progress=False)
    similarity = sparse.lil_matrix(model.similarity, dtype=np.float32)
    similarity.setdiag(0)
    near = similarity.tocsr()

    def score(cases: Cases) -> Scores:
        return np.asarray((_history_matrix(cases.histories, len(columns.items)) @ near).toarray(), dtype=np.float32)

    return Scored("item_knn", score)


def ials(columns: EventColumns, train: Mask, *, seed: int, factors: int = 64, iterations: int = 15) -> System:
    """Matrix factorisation of who chose what, weighted least squares (Hu, Koren and Volinsky, ICDM 2008).

    A case's user vector is solved from the case's history against the trained item vectors, so users unknown in
    training have one too.
    """
    from implicit.als import AlternatingLeastSquares

    with threadpool_limits(1, "blas"):  # the threads are over users; a BLAS with its own would fight them
        model = AlternatingLeastSquares(
            factors=factors, iterations=iterations, regularization=10.0, alpha=5.0, num_threads=2, random_state=seed
        )
        model.fit(_user_items(columns, train), show_progress=False)

    def score(cases: Cases) -> Scores:
        histories = _history_matrix(cases.histories, len(columns.items))
        vectors = model.recalculate_user(np.arange(len(cases)), histories)
        return np.asarray(vectors @ model.item_factors.T, dtype=np.float32)

    return Scored("ials", score)


def all_baselines(columns: EventColumns, train: Mask, *, seed: int) -> list[System]:
    """All of the above, fitted on the `train` events of `columns`, simplest first."""
    return [
        popular(columns, train),
        popular_recent(columns, train),
        covisit(columns, train),
        item_knn(columns, train),
        ials(columns, train, seed=seed),
    ]


def _by_count(name: str, columns: EventColumns, counted: Mask) -> System:
    counts = np.bincount(columns.item[counted], minlength=len(columns.items)).astype(np.float32)
    return Scored(name, lambda cases: np.tile(counts, (len(cases), 1)))


def _by_user(columns: EventColumns, chosen: Mask) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Users and items of the chosen events, one user after the other, each in the order of time."""
    events = np.flatnonzero(chosen)
    events = events[np.argsort(columns.user[events], kind="stable")]
    return columns.user[events].astype(np.int64), columns.item[events].astype(np.int64)


def _count_matrix(
    first: npt.NDArray[np.integer], second: npt.NDArray[np.integer], shape: tuple[int, int]
) -> "sparse.csr_matrix":
    """How often each pair occurs, `shape` float32; repeated pairs are added up."""
    return sparse.csr_matrix((np.ones(len(first), np.float32), (first, second)), shape=shape)


def _user_items(columns: EventColumns, train: Mask) -> "sparse.csr_matrix":
    """Who chose what, (n_users, n_items) float32 of ones."""
    return user_items_of(columns.user[train], columns.item[train], (len(columns.users), len(columns.items)))


def _history_matrix(histories: Sequences, n_items: int) -> "sparse.csr_matrix":
    """What each case's history holds, (n_cases, n_items) float32 of ones."""
    case = np.repeat(np.arange(len(histories.lengths)), histories.lengths)
    return user_items_of(case, histories.items, (len(histories.lengths), n_items))


def _last_items(histories: Sequences) -> npt.NDArray[np.int64]:
    """The newest item of each history, (n_cases,) int64, -1 for an empty one."""
    known = histories.lengths > 0
    last = np.full(len(known), -1, dtype=np.int64)
    last[known] = histories.items[histories.offsets[1:][known] - 1]
    return last
