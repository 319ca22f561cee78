"""What every vector index promises, attacked; a kind joins by giving the `build` fixture."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from upnext.errors import DataError
from upnext.index import open_index
from upnext.index.faiss_index import FaissIndex
from upnext.index.interface import Allowed, Floats

Build = Callable[[Floats], FaissIndex]
CLUSTERS, STEPS, DIM = 300, 8, 37


def planted() -> tuple[Floats, Floats]:
    """Directions (300, 37), and items (2400, 37) of which row 8 c + s is the s-th nearest to direction c."""
    directions = np.random.default_rng(1).standard_normal((CLUSTERS, DIM)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = 2.0 - 0.1 * np.arange(STEPS, dtype=np.float32)
    return directions, (directions[:, None] * lengths[:, None]).reshape(-1, DIM)


def clustered(n: int, dim: int, *, bias: bool, seed: int = 3) -> tuple[Floats, Floats]:
    """Items (n, dim) near common centres, and 50 queries near items; with `bias` a last column of popularity."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((n // 40, dim)).astype(np.float32)
    items = centres[random.integers(0, len(centres), n)] + 0.5 * random.standard_normal((n, dim), np.float32)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    queries = items[random.integers(0, n, 50)] + 0.05 * random.standard_normal((50, dim), np.float32)
    if bias:
        items[:, -1] = 0.2 * random.standard_gamma(1.0, n)
        queries[:, -1] = 1.0
    return items, queries


def exact(items: Floats, query: Floats, k: int, mask: np.ndarray | None = None) -> np.ndarray:
    scores = items @ query
    if mask is not None:
        scores[~mask] = -np.inf
    return np.argsort(-scores, kind="stable")[:k]


class VectorIndexSuite:
    @pytest.fixture
    def build(self) -> Build:
        raise NotImplementedError

    def test_the_nearest_rows_come_best_first_with_their_inner_products(self, build: Build) -> None:
        directions, items = planted()
        scores, rows = build(items).search(directions[[7, 123]], 8)
        assert rows.tolist() == [list(range(56, 64)), list(range(984, 992))]
        np.testing.assert_allclose(scores, [2.0 - 0.1 * np.arange(8)] * 2, atol=0.03)
        assert (scores.dtype, rows.dtype) == (np.float32, np.int32)

    def test_an_item_is_found_by_its_score_not_by_its_direction(self, build: Build) -> None:
        directions, items = planted()
        items[5] = 50.0 * directions[200]
        _, rows = build(items).search(directions[200:201], 3)
        assert rows[0].tolist() == [5, 1600, 1601]

    @pytest.mark.parametrize("bias", [False, True])
    def test_recall_against_exact_search(self, build: Build, bias: bool) -> None:
        items, queries = clustered(4000, 33, bias=bias)
        _, rows = build(items).search(queries, 100)
        found = [len(np.intersect1d(exact(items, query, 100), each)) for query, each in zip(queries, rows, strict=True)]
        assert np.mean(found) >= 95

    def test_a_filtered_search_gives_exactly_the_nearest_allowed_rows(self, build: Build) -> None:
        directions, items = planted()
        index = build(items)
        for share in (0.9, 0.5, 0.1):
            mask = np.random.default_rng(5).random(len(items)) < share
            allowed = Allowed.of(mask)
            for cluster in range(0, CLUSTERS, 30):
                wanted = [row for row in range(8 * cluster, 8 * cluster + 8) if mask[row]]
                _, rows = index.search(directions[cluster : cluster + 1], 8, allowed=allowed)
                assert rows[0, : len(wanted)].tolist() == wanted
                assert mask[rows[rows >= 0]].all()

    def test_fewer_allowed_than_asked_gives_all_of_them_wherever_they_are_and_then_none(self, build: Build) -> None:
        directions, items = planted()
        mask = np.zeros(len(items), bool)
        mask[[0, 1000, 1001, 2399]] = True
        scores, rows = build(items).search(directions[:2], 10, allowed=Allowed.of(mask))
        for query in (0, 1):
            assert sorted(rows[query, :4]) == [0, 1000, 1001, 2399]
            assert (np.diff(scores[query, :4]) <= 0).all()
            assert (rows[query, 4:] == -1).all()
            assert np.isneginf(scores[query, 4:]).all()

    def test_nothing_allowed_gives_nothing(self, build: Build) -> None:
        directions, items = planted()
        scores, rows = build(items).search(directions[:1], 3, allowed=Allowed.of(np.zeros(len(items), bool)))
        assert rows.tolist() == [[-1, -1, -1]]
        assert np.isneginf(scores).all()

    def test_the_filter_is_a_copy_of_its_mask(self, build: Build) -> None:
        directions, items = planted()
        mask = np.ones(len(items), bool)
        allowed = Allowed.of(mask)
        mask[:] = False
        assert build(items).search(directions[:1], 1, allowed=allowed)[1].tolist() == [[0]]

    @pytest.mark.parametrize("n", [1, 2, 13, 2400])
    def test_more_asked_than_there_are_gives_every_row_once_and_then_none(self, build: Build, n: int) -> None:
        directions, items = planted()
        scores, rows = build(items[:n]).search(directions[:3], n + 5)
        for query in range(3):
            assert sorted(rows[query, :n]) == list(range(n))
            assert rows[query, n:].tolist() == [-1] * 5
            assert np.isneginf(scores[query, n:]).all()
            assert np.isfinite(scores[query, :n]).all()

    def test_each_query_of_a_batch_gets_what_it_gets_alone(self, build: Build) -> None:
        items, queries = clustered(4000, 33, bias=True)
        index = build(items)
        index.set_effort(index.efforts[0])
        allowed = Allowed.of(np.arange(4000) % 40 == 0)
        # Of some of these, only part of the queries finds enough at the first attempt.
        for k, only in ((700, None), (100, None), (90, allowed), (100, allowed), (5, None)):
            scores, rows = index.search(queries, k, allowed=only)
            for number in range(len(queries)):
                alone = index.search(queries[number : number + 1], k, allowed=only)
                np.testing.assert_array_equal(alone[0][0], scores[number])
                np.testing.assert_array_equal(alone[1][0], rows[number])

    def test_what_a_search_returned_is_not_touched_by_the_next(self, build: Build) -> None:
        directions, items = planted()
        index = build(items)
        scores, rows = index.search(directions[:1], 8)
        kept = scores.copy(), rows.copy()
        index.search(directions[9:10], 8)
        np.testing.assert_array_equal(scores, kept[0])
        np.testing.assert_array_equal(rows, kept[1])

    def test_building_twice_gives_the_same_bytes_and_answers_with_ties_in_the_same_order(
        self, build: Build, tmp_path: Path
    ) -> None:
        items, queries = clustered(4000, 33, bias=True)
        items[2000:] = items[:2000]  # every score twice
        first, second = build(items), build(items)
        first.save(tmp_path / "first")
        second.save(tmp_path / "second")
        assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
        for left, right in zip(first.search(queries, 200), second.search(queries, 200), strict=True):
            np.testing.assert_array_equal(left, right)

    def test_saved_and_opened_it_answers_the_same(self, build: Build, tmp_path: Path) -> None:
        items, queries = clustered(4000, 33, bias=True)
        index = build(items)
        index.set_effort(index.efforts[-1])
        index.save(tmp_path / "index.user.bin")
        opened = open_index(tmp_path / "index.user.bin")
        assert (opened.kind, opened.n_items, opened.dim) == (index.kind, 4000, 33)
        assert opened.parameters == index.parameters
        for allowed in (None, Allowed.of(np.arange(4000) % 3 == 0)):
            before, after = (each.search(queries, 150, allowed=allowed) for each in (index, opened))
            np.testing.assert_array_equal(before[0], after[0])
            np.testing.assert_array_equal(before[1], after[1])

    def test_four_threads_get_the_answers_of_one(self, build: Build) -> None:
        items, queries = clustered(4000, 33, bias=False)
        index = build(items)
        allowed = Allowed.of(np.arange(4000) % 2 == 0)
        wanted = [index.search(queries[i : i + 1], 50 + i, allowed=allowed)[1] for i in range(len(queries))]

        def same(start: int) -> bool:
            order = [(start + turn) % len(queries) for turn in range(3 * len(queries))]
            return all(
                np.array_equal(index.search(queries[i : i + 1], 50 + i, allowed=allowed)[1], wanted[i]) for i in order
            )

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(same, (0, 10, 20, 30)))

    def test_rows_added_are_found_like_the_others_and_the_old_index_stays_as_it_was(
        self, build: Build, tmp_path: Path
    ) -> None:
        directions, items = planted()
        build(items[:2000]).save(tmp_path / "index")
        before = open_index(tmp_path / "index")  # mapped, so that nothing may be written to it
        after = before.added(items[2000:])
        assert (before.n_items, after.n_items) == (2000, 2400)
        for cluster in (7, 123, 260, 299):
            _, rows = after.search(directions[cluster : cluster + 1], 8)
            assert rows[0].tolist() == list(range(8 * cluster, 8 * cluster + 8))
        only_new = Allowed.of(np.arange(2400) >= 2000)
        assert after.search(directions[:1], 400, allowed=only_new)[1].min() == 2000
        assert before.search(directions[299:], 2000)[1].max() < 2000
        after.save(tmp_path / "grown")
        opened = open_index(tmp_path / "grown")
        np.testing.assert_array_equal(opened.search(directions, 20)[1], after.search(directions, 20)[1])

    def test_rows_that_do_not_fit_are_not_added(self, build: Build) -> None:
        index = build(planted()[1])
        with pytest.raises(DataError, match="36 dimensions for an index of 37"):
            index.added(np.ones((1, 36), np.float32))
        with pytest.raises(DataError, match="not finite"):
            index.added(np.full((1, 37), np.nan, np.float32))

    def test_queries_and_filters_of_another_size_are_refused(self, build: Build) -> None:
        directions, items = planted()
        index = build(items)
        with pytest.raises(DataError, match="36 dimensions"):
            index.search(np.ascontiguousarray(directions[:1, 1:]), 3)
        with pytest.raises(DataError, match="at least 1"):
            index.search(directions[:1], 0)
        with pytest.raises(DataError, match="over 100 rows"):
            index.search(directions[:1], 3, allowed=Allowed.of(np.ones(100, bool)))

    def test_vectors_that_cannot_be_indexed_are_refused(self, build: Build) -> None:
        with pytest.raises(DataError, match=r"\(0, 4\)"):
            build(np.empty((0, 4), np.float32))
        broken = np.ones((5, 4), np.float32)
        broken[3, 1] = np.nan
        with pytest.raises(DataError, match="row 3"):
            build(broken)
