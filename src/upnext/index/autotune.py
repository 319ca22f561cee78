"""Chooses a vector index by measuring on the actual vectors: the fastest that meets the asked recall."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import faiss
import msgspec
import numpy as np
import numpy.typing as npt

from upnext.clock import Clock, SystemClock
from upnext.errors import DataError
from upnext.index.faiss_index import FaissIndex, checked
from upnext.index.growing import effort_of
from upnext.index.interface import Floats, Rows, VectorIndex
from upnext.index.opening import KINDS

# Between them a graph pays: below, flat and ivf are faster; above, building it takes minutes.
HNSW_FROM_ITEMS, HNSW_TO_ITEMS = 20_000, 100_000
# Below, scanning everything takes no longer than a request's other steps, and a choice by the clock could make two
# trainings with one seed differ.
EXACT_BELOW_ITEMS = 10_000
# Below, what a scan reads fits the processor's caches anyhow.
PQ_FROM_ITEMS = 200_000
_ITEM_QUERIES = 200
_NOISE = 0.1  # of a made-up query, in lengths of the item it is near
_TIMED_QUERIES = 100
_ROUNDS = 3
_AS_FAST = 1.1  # within so much of the fastest, better recall is worth more than the difference
_EXACT_CHUNK = 16

Progress = Callable[[int, int, str], None]  # done, of how many, what


class IndexTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of index with one set of parameters, measured."""

    kind: str
    parameters: dict[str, int]
    recall: float  # share of the exact k best that it returned
    p50_us: float  # of searches with one query
    p99_us: float
    build_ms: float
    size_bytes: int
    chosen: bool = False


@dataclass
class _Candidate:
    index: FaissIndex
    effort: int
    build_ms: float
    size_bytes: int
    recall: float = 0.0


def autotune(
    vectors: Floats,
    *,
    k: int,
    recall_target: float = 0.95,
    queries: Floats | None = None,
    seed: int = 0,
    kinds: Sequence[str] | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> tuple[VectorIndex, list[IndexTrial]]:
    """An index over `vectors` (n, dim) float32 for searches of `k` rows, and all that was tried.

    It is the fastest whose recall meets `recall_target`; when none does, the one of the highest recall. `queries`
    (n_queries, dim) are a sample of real ones; without them, slightly moved items. `kinds` are tried whatever they
    cost; None leaves out graphs where they cannot win or take long to build. Raises `DataError` for vectors that
    cannot be indexed.
    """
    checked(vectors)
    clock, progress = clock or SystemClock(), progress or (lambda done, total, label: None)
    kinds = kinds or kinds_for(len(vectors))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise DataError(f"there is no index kind {unknown[0]!r}; choose from {', '.join(KINDS)}")
    asked = near_items(vectors, seed) if queries is None else np.ascontiguousarray(queries, np.float32)
    k = min(k, len(vectors))
    steps = len(kinds) + 2
    candidates: list[_Candidate] = []
    for done, kind in enumerate(kinds):
        progress(done, steps, f"building {kind}")
        candidates += _built(kind, vectors, seed, clock)
    progress(len(kinds), steps, "measuring recall")
    _measure_recall(candidates, vectors, asked, k)
    progress(len(kinds) + 1, steps, "measuring speed")
    times_us = _measure_speed(candidates, asked[:_TIMED_QUERIES], k, clock)
    trials = [_trial(candidate, times) for candidate, times in zip(candidates, times_us, strict=True)]
    best = choose(trials, recall_target)
    trials[best] = msgspec.structs.replace(trials[best], chosen=True)
    candidates[best].index.set_effort(candidates[best].effort)
    progress(steps, steps, f"{trials[best].kind} chosen")
    return candidates[best].index, trials


def kinds_for(n_items: int) -> tuple[str, ...]:
    """The kinds worth trying for a catalogue of this size."""
    if n_items < EXACT_BELOW_ITEMS:
        return ("flat",)
    if n_items >= PQ_FROM_ITEMS:
        return ("flat", "ivf", "pq")
    graph = HNSW_FROM_ITEMS <= n_items <= HNSW_TO_ITEMS
    return ("flat", "ivf", "hnsw") if graph else ("flat", "ivf")


def extend(
    index: VectorIndex,
    vectors: Floats,
    *,
    k: int,
    recall_target: float = 0.95,
    queries: Floats | None = None,
    seed: int = 0,
    changed: bool = False,
    clock: Clock | None = None,
) -> tuple[VectorIndex, list[IndexTrial]]:
    """An index over all of `vectors`, grown from one over their first rows, and what was tried.

    New rows are added as they are, without building anew, and the recall is measured again: where it falls below
    `recall_target` all kinds are tried as by `autotune`. With `changed` rows of the old index hold something else now,
    or it cannot grow: it is built anew, in its kind alone. Raises as `autotune`.
    """
    if not changed and isinstance(index, FaissIndex):
        try:
            grown = index if len(vectors) == index.n_items else index.added(vectors[index.n_items :])
        except DataError:  # saved by an older version
            changed = True
        else:
            trial = _measured(grown, index, vectors, k, queries, seed, clock or SystemClock())
            if trial.recall >= recall_target:
                return grown, [trial]
    kinds = (index.kind,) if changed else None
    built, trials = autotune(
        vectors, k=k, recall_target=recall_target, queries=queries, seed=seed, kinds=kinds, clock=clock
    )
    return built, trials


def _measured(
    grown: FaissIndex, before: VectorIndex, vectors: Floats, k: int, queries: Floats | None, seed: int, clock: Clock
) -> IndexTrial:
    """The grown index as it is searched, which is how the one before was."""
    asked = near_items(vectors, seed) if queries is None else np.ascontiguousarray(queries, np.float32)
    effort = effort_of(before)
    grown.set_effort(effort)
    one = _Candidate(grown, effort, 0.0, len(faiss.serialize_index(grown.index)))
    k = min(k, len(vectors))
    _measure_recall([one], vectors, asked, k)
    times_us = _measure_speed([one], asked[:_TIMED_QUERIES], k, clock)
    return msgspec.structs.replace(_trial(one, times_us[0]), chosen=True)


def choose(trials: Sequence[IndexTrial], recall_target: float) -> int:
    """Place of the fastest trial that meets the target; of the best one when none does."""
    meeting = [place for place, trial in enumerate(trials) if trial.recall >= recall_target]
    if not meeting:
        return max(range(len(trials)), key=lambda place: (trials[place].recall, -trials[place].p50_us))
    fastest_us = min(trials[place].p50_us for place in meeting)
    as_fast = [place for place in meeting if trials[place].p50_us <= _AS_FAST * fastest_us]
    return max(as_fast, key=lambda place: (trials[place].recall, -trials[place].p50_us))


def near_items(vectors: Floats, seed: int) -> Floats:
    """Queries (at most 200, dim) float32 near items drawn at random, all-zero ones left out while others exist."""
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(vectors.any(axis=1))
    rows = random.choice(rows if len(rows) else len(vectors), min(_ITEM_QUERIES, max(len(rows), 1)), replace=False)
    items = np.asarray(vectors[rows], np.float32)
    noise = random.standard_normal(items.shape, np.float32)
    noise *= _NOISE * np.linalg.norm(items, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    moved: Floats = items + noise
    return moved


def _built(kind: str, vectors: Floats, seed: int, clock: Clock) -> list[_Candidate]:
    """One index, and a candidate for each effort it can be searched with."""
    started_ms = clock.monotonic_ms()
    index = KINDS[kind].build(vectors, seed)
    build_ms = clock.monotonic_ms() - started_ms
    size_bytes = len(faiss.serialize_index(index.index))
    return [_Candidate(index, effort, build_ms, size_bytes) for effort in index.efforts]


def _measure_recall(candidates: Sequence[_Candidate], vectors: Floats, queries: Floats, k: int) -> None:
    """Sets the mean recall of each: rows count that score no less than the exact k-th best, whichever of equals."""
    least = exact_least(vectors, queries, k)
    for candidate in candidates:
        candidate.index.set_effort(candidate.effort)
        _, rows = candidate.index.search(queries, k)
        candidate.recall = (
            float(np.mean([_hits(vectors, *each) for each in zip(queries, rows, least, strict=True)])) / k
        )


def exact_least(vectors: Floats, queries: Floats, k: int) -> npt.NDArray[np.float32]:
    """Score of the exact k-th best row for each query, (n_queries,)."""
    least = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), _EXACT_CHUNK):
        scores = queries[start : start + _EXACT_CHUNK] @ vectors.T
        least[start : start + _EXACT_CHUNK] = np.partition(scores, -k, axis=1)[:, -k]
    return least


def _hits(vectors: Floats, query: Floats, rows: Rows, least: np.float32) -> int:
    scores = vectors[rows[rows >= 0]] @ query
    rounding = 1e-5 * abs(float(least))
    return int(np.count_nonzero(scores >= least - rounding))


def _measure_speed(
    candidates: Sequence[_Candidate], queries: Floats, k: int, clock: Clock
) -> list[npt.NDArray[np.float64]]:
    """Microseconds of single searches, (rounds, n_queries) each; rounds interleaved, so that a slow spell hits all."""
    times_us = [np.empty((_ROUNDS, len(queries))) for _ in candidates]
    for turn in range(_ROUNDS):
        for candidate, times in zip(candidates, times_us, strict=True):
            candidate.index.set_effort(candidate.effort)
            for number in range(len(queries)):
                started_ms = clock.monotonic_ms()
                candidate.index.search(queries[number : number + 1], k)
                times[turn, number] = (clock.monotonic_ms() - started_ms) * 1e3
    return times_us


def _trial(candidate: _Candidate, times_us: npt.NDArray[np.float64]) -> IndexTrial:
    candidate.index.set_effort(candidate.effort)
    p50_us, p99_us = np.median(np.percentile(times_us, (50, 99), axis=1), axis=1)
    return IndexTrial(
        kind=candidate.index.kind,
        parameters=dict(candidate.index.parameters),
        recall=round(candidate.recall, 4),
        p50_us=round(float(p50_us), 1),
        p99_us=round(float(p99_us), 1),
        build_ms=round(candidate.build_ms, 1),
        size_bytes=candidate.size_bytes,
    )
