"""Item rows from store and process: what is taken is what the arrays hold, and what happens when the store fails."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.redis_servers import RedisServer, running_server
from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.errors import ReleaseError, SettingsError, StoreError, StoreTimeout
from upnext.features.item_records import mark_key, row_keys
from upnext.features.item_rows import ItemRows, ItemTier, heaviest, open_item_rows
from upnext.features.item_rows_publish import publish, published_ids, unpublish
from upnext.settings import StoreSettings
from upnext.store.lmdb_store import LmdbStore
from upnext.store.memory_store import MemoryStore
from upnext.store.opening import open_store

N, SPARE = 5_000, 20
SMALL = 8 * 40 * (44 + 12)  # bytes for 320 rows
CLOCK = SystemClock()
NEVER = Deadline.never(CLOCK)


@pytest.fixture(scope="module")
def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {
        "ranker.item_hidden": rng.integers(-128, 128, (N + SPARE, 6)).astype(np.int8),
        "vectors.session": rng.normal(size=(N + SPARE, 5)).astype(np.float32),
        "vectors.user": rng.normal(size=(N + SPARE, 4)).astype(np.float32),
    }
    for table in made.values():
        table[N:] = 0
    return made


class Watched:
    """A store that counts its reads, and fails when told to."""

    def __init__(self, store) -> None:
        self._store = store
        self.reads: list[int] = []
        self.writes_left = float("inf")
        self.down = False

    def get_many(self, keys, deadline):
        self.reads.append(len(keys))
        if self.down:
            raise StoreError("out of reach")
        return self._store.get_many(keys, deadline)

    def put_many(self, items, deadline):
        self.writes_left -= 1
        if self.writes_left < 0:
            raise StoreError("out of reach")
        self._store.put_many(items, deadline)

    def __getattr__(self, name):
        return getattr(self._store, name)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory) -> Iterator[RedisServer]:
    with running_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(tables) -> Watched:
    """With all rows of release r1."""
    store = Watched(MemoryStore())
    publish("r1", tables, N, store, NEVER)
    return store


def opened(store, tables, *, l1_bytes=SMALL, weights=None, share=0.01) -> ItemRows:
    weights = np.zeros(N) if weights is None else weights
    return open_item_rows("r1", tables, N, ItemTier(store, l1_bytes, share, least_rows=8), weights, CLOCK)


class Taking:
    """Takes from every table at random, with rows held far fewer than there are, as the arrays would give."""

    def test_what_is_taken_is_what_the_arrays_hold(self, any_store, tables):
        publish("r1", tables, N, any_store, NEVER)
        items, rng = opened(any_store, tables), np.random.default_rng(1)
        for turn in range(30):
            rows = rng.integers(0, N + SPARE, 200).astype((np.int32, np.int64)[turn % 2])
            if turn % 3:
                items.bring(rows, NEVER)
            for name, table in tables.items():
                taken = items.table(name).take(rows, axis=0)
                assert taken.dtype == table.dtype
                assert taken.flags.c_contiguous
                np.testing.assert_array_equal(taken, table.take(rows, axis=0))
        assert items.cache.evictions > 1_000
        assert items.cache.size_bytes <= SMALL

    def test_a_release_is_taken_out_and_another_stays(self, any_store, tables):
        publish("r1", tables, N, any_store, NEVER)
        publish("r2", tables, 40, any_store, NEVER)
        assert published_ids(any_store) == ["r1", "r2"]
        assert unpublish("r1", any_store, NEVER) == N
        assert published_ids(any_store) == ["r2"]
        assert [key for key, _ in any_store.scan(b"item_row/")] == row_keys("r2", range(40))


class TestInMemory(Taking):
    @pytest.fixture
    def any_store(self):
        return MemoryStore()


class TestInLmdb(Taking):
    @pytest.fixture
    def any_store(self, tmp_path: Path):
        store = LmdbStore(tmp_path)
        yield store
        store.close()


class TestInRedis(Taking):
    @pytest.fixture
    def any_store(self, redis_server: RedisServer, tmp_path: Path):
        redis_server.command("flushall")
        store = open_store(tmp_path, StoreSettings(url=redis_server.url, timeout_ms=20_000))
        yield store
        store.close()


def test_one_read_brings_all_tables_and_the_next_none(store, tables):
    items, rows = opened(store, tables), np.arange(100, 200)
    store.reads.clear()
    items.bring(rows, NEVER)
    for part in (rows, rows[30:60], rows[:1], rows[[7, 3, 90]], rows[:0]):
        for name, table in tables.items():
            np.testing.assert_array_equal(items.table(name).take(part, axis=0), table[part])
            np.testing.assert_array_equal(items.table(name)[part], table[part])
    items.bring(rows[::-1], NEVER)
    items.bring(np.arange(150, 250), NEVER)
    assert store.reads == [100, 50]


def test_rows_of_which_only_some_are_at_hand_are_brought(store, tables):
    items, table = opened(store, tables), tables["vectors.user"]
    items.bring(np.arange(100, 200), NEVER)
    for rows in (np.array([150, 120, 300]), np.array([150, 99]), np.array([199, 200])):
        np.testing.assert_array_equal(items.table("vectors.user").take(rows, axis=0), table[rows])


def test_a_row_asked_for_twice_is_read_once(store, tables):
    items = opened(store, tables)
    store.reads.clear()
    taken = items.table("vectors.user").take(np.array([9, 4, 9]), axis=0)
    np.testing.assert_array_equal(taken, tables["vectors.user"][[9, 4, 9]])
    assert store.reads == [2]


def test_what_is_taken_is_a_copy_that_later_requests_leave_alone(store, tables):
    items = opened(store, tables)
    first = items.table("vectors.user").take(np.arange(10), axis=0)
    items.table("vectors.user").take(np.arange(50, 60), axis=0)
    np.testing.assert_array_equal(first, tables["vectors.user"][:10])


def test_rows_slices_and_columns_are_those_of_the_array(store, tables):
    for name, table in tables.items():
        tiered = opened(store, tables).table(name)
        assert (len(tiered), tiered.shape, tiered.dtype) == (len(table), table.shape, table.dtype)
        for key in (
            7,
            np.int32(8),
            -1,
            slice(3, 9),
            slice(N, N + 5),
            slice(N - 2, N + 2),
            np.array([1, N + 1, 2]),
            [4, 5],
        ):
            np.testing.assert_array_equal(tiered[key], table[key])
        np.testing.assert_array_equal(tiered[:, :-1], table[:, :-1])
        clipped = tiered.take(np.array([-1, 3, N + SPARE]), axis=0, mode="clip")
        np.testing.assert_array_equal(clipped, table.take([-1, 3, N + SPARE], axis=0, mode="clip"))
        for wrong in (-1, N + SPARE):
            with pytest.raises(IndexError):
                tiered.take(np.array([wrong]), axis=0)


def test_spare_rows_are_seen_as_soon_as_they_are_written_even_by_who_has_them_at_hand(store, tables):
    items = opened(store, tables)
    user, rows = items.table("vectors.user"), np.array([5, N + 3, 6])
    items.bring(rows, NEVER)
    user[np.array([N + 3])] = np.full((1, 4), 7, np.float32)
    for seen in (user.take(rows, axis=0), user[rows], user[N : N + 9][[3]]):
        assert (seen == 7).all(axis=1).sum() == 1
    np.testing.assert_array_equal(items.table("vectors.session", steady=True)[N + 3], 0)
    assert not tables["vectors.user"][N:].any()


def test_rows_of_the_release_cannot_be_written(store, tables):
    user = opened(store, tables).table("vectors.user")
    with pytest.raises(IndexError, match="only rows from 5000 on"):
        user[np.array([N, N - 1])] = 1.0


def test_a_store_out_of_reach_is_told_and_leaves_nothing_wrong_at_hand(store, tables):
    items, near, far = opened(store, tables), np.arange(50), np.arange(1_000, 1_050)
    items.bring(near, NEVER)
    store.down = True
    with pytest.raises(StoreError, match="out of reach"):
        items.bring(np.concatenate([near[::-1], far]), NEVER)
    np.testing.assert_array_equal(items.table("vectors.user").take(near, axis=0), tables["vectors.user"][near])
    with pytest.raises(StoreError):
        items.table("vectors.user").take(far, axis=0)
    steady = items.table("vectors.user", steady=True).take(far, axis=0)
    np.testing.assert_array_equal(steady, tables["vectors.user"][far])
    store.down = False
    np.testing.assert_array_equal(items.table("vectors.user").take(far, axis=0), tables["vectors.user"][far])


def test_a_request_waits_for_rows_no_longer_than_it_has_time(store, tables):
    clock = ManualClock()
    items, passed = opened(store, tables), Deadline.after(clock, 0)
    items.bring(np.arange(10), NEVER)
    items.bring(np.arange(10), passed)  # they are here
    with pytest.raises(StoreTimeout):
        items.bring(np.arange(20), passed)


@pytest.mark.parametrize("value", [None, b"short", bytes(45)])
def test_a_row_that_is_lost_or_is_none_is_told_with_what_to_do(store, tables, value):
    items, (key,) = opened(store, tables), row_keys("r1", [17])
    if value is None:
        store.delete_many([key], NEVER)
    else:
        store.put_many([(key, value)], NEVER)
    with pytest.raises(StoreError, match="upnext release publish r1 --again"):
        items.bring(np.arange(10, 20), NEVER)
    publish("r1", tables, N, store, NEVER, again=True)
    items.bring(np.arange(10, 20), NEVER)


def test_the_most_popular_rows_are_at_hand_from_the_opening_on_and_stay(store, tables):
    weights = np.zeros(N)
    popular = np.array([4_000, 17, 2_222, 801])
    weights[popular] = [4, 3, 2, 1]
    items = opened(store, tables, weights=weights)
    rng = np.random.default_rng(3)
    for _ in range(20):
        items.bring(rng.integers(0, N, 300), NEVER)
    store.reads.clear()
    items.bring(popular, NEVER)
    assert (store.reads, items.cache.pinned) == ([], 4)


def test_as_many_are_pinned_as_the_share_says_and_never_more_than_half_of_what_fits(store, tables):
    weights = np.arange(N, 0, -1)
    assert opened(store, tables, weights=weights).cache.pinned == 50
    assert opened(store, tables, weights=weights, share=0.9).cache.pinned == 160


def test_the_heaviest_come_first_and_those_without_weight_not_at_all():
    weights = np.array([0.0, 2, 5, 0, 3, 1])
    assert heaviest(weights, 3).tolist() == [2, 4, 1]
    assert heaviest(weights, 100).tolist() == [2, 4, 1, 5]
    assert heaviest(weights, 0).tolist() == []


def test_a_release_that_is_not_wholly_in_the_store_is_not_opened(tables):
    store = Watched(MemoryStore())
    with pytest.raises(ReleaseError, match="run `upnext release publish r1`"):
        opened(store, tables)
    store.writes_left = 4  # the mark, and three batches of rows
    with pytest.raises(StoreError):
        publish("r1", tables, N, store, NEVER)
    with pytest.raises(ReleaseError, match="not all in the store"):
        opened(store, tables)


def test_rows_of_other_tables_than_the_releases_are_not_opened(store, tables):
    wider = tables | {"vectors.user": np.zeros((N + SPARE, 9), np.float32)}
    with pytest.raises(ReleaseError, match="not all in the store"):
        opened(store, wider)


def test_with_the_store_out_of_reach_it_opens_and_rows_come_when_it_is_back(store, tables, caplog):
    store.down = True
    with caplog.at_level(logging.WARNING):
        items = opened(store, tables, weights=np.arange(N))
    assert "opened without those of the most popular" in caplog.text
    store.down = False
    np.testing.assert_array_equal(items.table("vectors.user").take(np.arange(9), axis=0), tables["vectors.user"][:9])


def test_fewer_bytes_than_requests_in_flight_need_are_refused(store, tables):
    with pytest.raises(SettingsError, match="fewer than the 4096"):
        open_item_rows("r1", tables, N, ItemTier(store, SMALL), np.zeros(N), CLOCK)


def test_threads_at_once_get_their_own_rows_from_a_cache_far_too_small(store, tables):
    items = opened(store, tables, l1_bytes=8 * 8 * 56)

    def work(seed: int) -> None:
        rng, session = np.random.default_rng(seed), items.table("vectors.session")
        for _ in range(100):
            rows = rng.integers(0, N + SPARE, 100)
            items.bring(rows, NEVER)
            np.testing.assert_array_equal(session.take(rows, axis=0), tables["vectors.session"][rows])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_publishing_goes_on_where_it_was_interrupted_and_then_does_nothing(tables):
    store, more = Watched(MemoryStore()), {}
    for name, table in tables.items():
        more[name] = np.tile(table[:N], (8, 1))
    n = 8 * N
    store.writes_left = 1 + 16 + 1 + 5  # the mark, 16 batches, the mark again, and five more batches
    with pytest.raises(StoreError):
        publish("r1", more, n, store, NEVER)
    store.writes_left = float("inf")
    assert publish("r1", more, n, store, NEVER) == n - 16 * 1_024
    assert publish("r1", more, n, store, NEVER) == 0
    assert publish("r1", more, n, store, NEVER, again=True) == n
    items = open_item_rows("r1", more, n, ItemTier(store, SMALL, 0, 8), np.zeros(n), CLOCK)
    for first in range(0, n, 5_000):
        rows = np.arange(first, first + 5_000)
        np.testing.assert_array_equal(items.table("vectors.user").take(rows, axis=0), more["vectors.user"][rows])


def test_taking_out_that_was_interrupted_is_not_opened_and_can_be_done_again(store, tables):
    store.delete_many = lambda keys, deadline: (_ for _ in ()).throw(StoreError("out of reach"))
    with pytest.raises(StoreError):
        unpublish("r1", store, NEVER)
    with pytest.raises(ReleaseError, match="not all in the store"):
        opened(store, tables)
    del store.delete_many
    assert unpublish("r1", store, NEVER) == N
    assert list(store.scan(b"item_row")) == []
    assert store.get_many([mark_key("r1")], NEVER) == [None]


def test_rows_of_a_release_that_the_store_does_not_have_cannot_be_taken_out(store):
    with pytest.raises(ReleaseError, match="no item rows of release 'r7'; it has those of: r1"):
        unpublish("r7", store, NEVER)
