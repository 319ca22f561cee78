"""Who is cold and what is rare, counted by hand."""

import numpy as np

from upnext.training.segments import segments_of

FLAT = np.ones(4, np.int64)


def where(n_before: list[int], targets: list[int], counts: list[int]) -> dict[str, list[int]]:
    segments = segments_of(np.array(n_before), np.array(targets), np.array(counts))
    return {name: np.flatnonzero(mask).tolist() for name, mask in segments.items()}


def test_cold_users_have_fewer_than_five_interactions_and_heavy_ones_are_the_longest_tenth() -> None:
    n_before = [0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 80, 90]
    segments = where(n_before, [0] * 20, [1, 1, 1, 1])
    assert segments["users cold"] == [0, 1]
    assert segments["users heavy"] == [18, 19]
    assert segments["users warm"] == list(range(2, 18))


def test_where_many_are_equally_long_none_is_heavier_than_a_tenth_allows() -> None:
    assert "users heavy" not in where([30] * 20, [0] * 20, [1, 1, 1, 1])


def test_the_longest_of_cold_users_are_not_heavy() -> None:
    assert set(where([0, 1, 2, 3, 4] * 4, [0] * 20, [1, 1, 1, 1])) == {"users cold", "items head"}


def test_the_head_is_the_most_popular_items_with_a_fifth_of_the_interactions() -> None:
    # 100 interactions: items 2 and 1 have 12 + 11 of them; the first alone has less than a fifth.
    counts = [7, 11, 12, *[7] * 10, 0]
    segments = where([5] * 4, [2, 1, 0, 13], counts)
    assert segments["items head"] == [0, 1]
    assert segments["items tail"] == [2]
    assert segments["items new"] == [3]


def test_every_case_is_in_one_segment_of_users_and_one_of_items() -> None:
    rng = np.random.default_rng(0)
    segments = segments_of(rng.integers(0, 50, 500), rng.integers(0, 90, 500), rng.poisson(1.0, 90))
    for kind in ("users", "items"):
        total = sum(mask.astype(int) for name, mask in segments.items() if name.startswith(kind))
        assert (total == 1).all()
