"""An index that grew, by adding or anew, finds old and new rows, and is searched as thoroughly as before."""

import numpy as np
import pytest

from upnext.errors import DataError
from upnext.index.growing import effort_of, grown
from upnext.index.opening import KINDS

N, MORE, DIM = 2_000, 400, 16


def vectors_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
def test_old_and_new_rows_are_found(kind: str, anew: bool) -> None:
    vectors = vectors_of(N + MORE)
    before = KINDS[kind].build(vectors[:N])
    before.set_effort(before.efforts[-1])
    after = grown(before, vectors, anew=anew)
    assert (before.n_items, after.n_items, after.kind) == (N, N + MORE, kind)
    rows = np.concatenate([np.arange(0, N, 100), np.arange(N, N + MORE, 20)])
    _, found = after.search(vectors[rows], 10)
    assert np.mean([row in near for row, near in zip(rows.tolist(), found.tolist(), strict=True)]) > 0.95


def test_a_search_reads_as_large_a_part_of_the_lists_as_before() -> None:
    vectors = vectors_of(N + MORE)
    before = KINDS["ivf"].build(vectors[:N])
    before.set_effort(16)
    added, anew = grown(before, vectors, anew=False), grown(before, vectors, anew=True)
    assert (effort_of(added), added.parameters["nlist"]) == (16, before.parameters["nlist"])
    assert anew.parameters["nlist"] > before.parameters["nlist"]
    share = effort_of(anew) / anew.parameters["nlist"]
    assert share == pytest.approx(16 / before.parameters["nlist"], rel=0.05)


def test_vectors_that_are_no_numbers_are_refused_and_the_index_stays() -> None:
    vectors = vectors_of(N + MORE)
    before = KINDS["flat"].build(vectors[:N])
    vectors[N + 3, 2] = np.nan
    with pytest.raises(DataError, match="not finite"):
        grown(before, vectors, anew=False)
    assert before.n_items == N
