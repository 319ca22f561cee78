"""Records held by row: what comes back, what makes way, and that neither bytes nor threads get out of hand."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from upnext.errors import SettingsError
from upnext.features.row_cache import WAYS, RowCache

RECORD_BYTES = 12
SLOT_BYTES = RECORD_BYTES + 12


def cache_of(sets: int) -> RowCache:
    return RowCache(sets * WAYS * SLOT_BYTES, RECORD_BYTES)


def records_of(rows) -> np.ndarray:
    """Records that say whose they are."""
    return np.repeat(np.asarray(rows, np.int32)[:, None], RECORD_BYTES // 4, axis=1).view(np.uint8)


def keep(cache: RowCache, *rows: int, pin: bool = False) -> None:
    cache.keep(np.array(rows), records_of(rows), pin=pin)


def missing(cache: RowCache, *rows: int) -> list[int]:
    """Which of `rows` are not held; the others must have their own records."""
    out = np.zeros((len(rows), RECORD_BYTES), np.uint8)
    places = cache.find(np.array(rows), out)
    held = np.setdiff1d(np.arange(len(rows)), places)
    np.testing.assert_array_equal(out[held], records_of(np.array(rows)[held]))
    return [rows[at] for at in places]


def held_of(cache: RowCache, rows: range) -> set[int]:
    return set(np.array(rows)[cache.has(np.array(rows))].tolist())


def test_what_was_kept_comes_back_and_what_is_missing_is_told():
    cache = cache_of(4)
    keep(cache, 3, 9, 12)
    assert missing(cache, 12, 5, 3, 3, 40) == [5, 40]
    assert (cache.hits, cache.misses, cache.held) == (3, 2, 3)


def test_the_row_unused_for_longest_makes_way():
    cache = cache_of(1)
    for row in range(WAYS):
        missing(cache, row)
        keep(cache, row)
    missing(cache, 0, 2)
    keep(cache, 100)
    keep(cache, 101)
    assert held_of(cache, range(200)) == {0, 2, 4, 5, 6, 7, 100, 101}
    assert cache.evictions == 2


def test_pinned_rows_are_never_pushed_out():
    cache = cache_of(2)
    keep(cache, 0, 1, 2, 3, 4, 5, pin=True)
    for row in range(6, 1_000):
        missing(cache, row)
        keep(cache, row)
    assert missing(cache, 0, 1, 2, 3, 4, 5) == []
    assert (cache.pinned, cache.held) == (6, 2 * WAYS)


def test_of_more_pinned_rows_than_a_set_takes_the_rest_are_ordinary():
    cache = cache_of(1)
    keep(cache, *range(8), pin=True)
    assert (cache.pinned, cache.held) == (6, 8)
    missing(cache, 50)
    keep(cache, 50, 51)
    assert held_of(cache, range(100)) == {0, 1, 2, 3, 4, 5, 50, 51}


def test_bytes_are_bounded_whatever_comes():
    capacity_bytes = 10_000
    cache = RowCache(capacity_bytes, RECORD_BYTES)
    for first in range(0, 20_000, 1_000):
        keep(cache, *range(first, first + 1_000))
        assert cache.held <= cache.capacity
    assert cache.size_bytes <= capacity_bytes
    assert cache.held == cache.capacity


def test_of_more_rows_of_one_set_at_once_than_it_has_places_each_held_one_has_its_own_record():
    cache = cache_of(3)
    rows = range(0, 90, 3)
    keep(cache, *rows)
    assert len(missing(cache, *rows)) == len(rows) - WAYS


def test_a_row_that_two_threads_brought_is_held_once():
    cache = cache_of(1)
    keep(cache, 3, 4)
    keep(cache, 4, 5)
    assert (cache.held, missing(cache, 3, 4, 5)) == (3, [])


def test_any_order_of_finding_and_keeping_gives_right_records():
    rng, cache = np.random.default_rng(0), cache_of(16)
    for _ in range(300):
        rows = rng.choice(1_000, 60, replace=False)
        gone = missing(cache, *rows.tolist())
        keep(cache, *gone, pin=bool(rng.random() < 0.05))
    assert cache.held == cache.capacity
    assert len(held_of(cache, range(1_000))) == cache.capacity  # each row at one place only


def test_threads_at_once_get_right_records():
    cache = cache_of(16)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            keep(cache, *missing(cache, *rng.choice(500, 40, replace=False).tolist()))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(held_of(cache, range(500))) == cache.held == cache.capacity


def test_too_few_bytes_for_anything_are_refused():
    with pytest.raises(SettingsError, match="allow more"):
        RowCache(WAYS * SLOT_BYTES - 1, RECORD_BYTES)
