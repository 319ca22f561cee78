"""Places of hashed keys against bisection."""

import numpy as np
import pytest

from upnext.catalog.key_index import KeyIndex

HIGHEST = np.uint64(2**64 - 1)


def hashes(n: int, seed: int = 0) -> np.ndarray:
    return np.unique(np.random.default_rng(seed).integers(0, HIGHEST, n, np.uint64, endpoint=True))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1_000, 1_024, 50_000])
def test_many_keys_stand_where_bisection_finds_them(n: int) -> None:
    known = hashes(n)
    asked = np.concatenate([hashes(2_000, seed=1), known, known + np.uint64(1), [np.uint64(0), HIGHEST]])
    assert KeyIndex(known).places_of(asked).tolist() == known.searchsorted(asked).tolist()


def test_the_first_and_the_last_possible_key_are_found() -> None:
    known = np.sort(np.concatenate([hashes(500), [np.uint64(0), HIGHEST]]))
    asked = np.repeat(np.array([0, HIGHEST], np.uint64), 200)
    assert KeyIndex(known).places_of(asked).tolist() == [0] * 200 + [len(known) - 1] * 200


def test_keys_that_are_no_hashes_are_found_by_bisection_rather_than_one_by_one(monkeypatch) -> None:
    monkeypatch.delattr(KeyIndex, "_below")
    known = np.arange(100_000, dtype=np.uint64)
    asked = np.arange(0, 200_000, 7, dtype=np.uint64)
    assert KeyIndex(known).places_of(asked).tolist() == known.searchsorted(asked).tolist()


def test_no_keys_have_no_places() -> None:
    assert len(KeyIndex(hashes(100)).places_of(np.empty(0, np.uint64))) == 0
