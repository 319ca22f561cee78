"""The rules, each against a slow and plain reading of what it promises."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from upnext.catalog.catalog import UNKNOWN_MS
from upnext.funnel.reranking.rules import boosted, spaced, with_pins

NOW_MS, FRESH_MS = 1_000_000, 1_000
FRESH, OLD = NOW_MS - 1, NOW_MS - 5_000
flags = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30)


def boost(fresh: list[bool], promoted: list[bool], fresh_places: int, promoted_places: int) -> list[int]:
    published = np.array([FRESH if each else OLD for each in fresh], np.int64)
    order = boosted(
        published, np.array(promoted, np.bool_), NOW_MS,
        fresh_ms=FRESH_MS, fresh_places=fresh_places, promoted_places=promoted_places,
    )  # fmt: skip
    return list(range(len(fresh))) if order is None else order.tolist()


@given(flags, st.integers(0, 6), st.integers(0, 6))
def test_a_boosted_item_passes_the_unboosted_ones_within_its_places_and_no_others(items, fresh_places, promoted_places):
    fresh, promoted = [f for f, _ in items], [p for _, p in items]
    order = boost(fresh, promoted, fresh_places, promoted_places)
    assert sorted(order) == list(range(len(items)))
    assert order == boost(fresh, promoted, fresh_places, promoted_places)
    places = [f * fresh_places + p * promoted_places for f, p in items]
    new_place = {position: place for place, position in enumerate(order)}
    for above in range(len(items)):
        for below in range(above + 1, len(items)):
            if places[above] >= places[below]:  # also two unboosted ones, and two with the same boost
                passes = places[above] == 0 and below - places[below] <= above and places[below] > 0
                assert (new_place[below] < new_place[above]) == passes
        assert new_place[above] >= above - places[above]


def test_two_boosts_add_up():
    order = boost([False] * 9 + [True], [False] * 9 + [True], 3, 5)
    assert order == [0, 9, 1, 2, 3, 4, 5, 6, 7, 8]


def test_nothing_moves_without_a_fresh_or_promoted_item():
    none = np.zeros(3, np.bool_)
    old = np.array([OLD, UNKNOWN_MS, NOW_MS - FRESH_MS], np.int64)
    assert boosted(old, none, NOW_MS, fresh_ms=FRESH_MS, fresh_places=3, promoted_places=5) is None


def test_an_item_that_will_be_published_tomorrow_is_not_fresh():
    published = np.array([OLD, NOW_MS + 1], np.int64)
    none = np.zeros(2, np.bool_)
    assert boosted(published, none, NOW_MS, fresh_ms=FRESH_MS, fresh_places=3, promoted_places=5) is None
    published[1] = NOW_MS
    order = boosted(published, none, NOW_MS, fresh_ms=FRESH_MS, fresh_places=3, promoted_places=5)
    assert order.tolist() == [1, 0]


genre_lists = st.lists(st.integers(-1, 3), max_size=14)
gaps, lookaheads, sizes = st.integers(0, 3), st.integers(0, 6), st.integers(0, 16)


def slow_spaced(genres, k, gap, lookahead):
    """The rule word for word: at each place the best of the first `lookahead` left that fits, else the best left."""
    left, chosen = list(range(len(genres))), []
    while left and len(chosen) < k:
        taken = [genres[each] for each in chosen][-gap:] if gap else []
        fitting = [each for each in left[:lookahead] if genres[each] < 0 or genres[each] not in taken]
        chosen.append(fitting[0] if fitting else left[0])
        left.remove(chosen[-1])
    return chosen


@given(genre_lists, sizes, gaps, lookaheads)
def test_spacing_takes_the_best_item_that_fits_at_every_place(genres, k, gap, lookahead):
    assert spaced(genres, k, gap=gap, lookahead=lookahead) == slow_spaced(genres, k, gap, lookahead)


@given(genre_lists, sizes, gaps, lookaheads)
def test_spacing_loses_no_item_and_shows_none_twice(genres, k, gap, lookahead):
    chosen = spaced(genres, k, gap=gap, lookahead=lookahead)
    assert len(chosen) == len(set(chosen)) == min(k, len(genres))
    assert sorted(spaced(genres, len(genres), gap=gap, lookahead=lookahead)) == list(range(len(genres)))


@given(genre_lists, sizes, gaps, lookaheads)
def test_a_shorter_slate_is_the_beginning_of_a_longer_one(genres, k, gap, lookahead):
    shorter = spaced(genres, k, gap=gap, lookahead=lookahead)
    assert spaced(genres, k + 1, gap=gap, lookahead=lookahead)[:k] == shorter


@given(genre_lists, sizes, gaps, lookaheads)
def test_spacing_never_looks_further_than_it_says(genres, k, gap, lookahead):
    cut = spaced(genres[: k + lookahead], k, gap=gap, lookahead=lookahead)
    assert cut == spaced(genres, k, gap=gap, lookahead=lookahead)


@given(genre_lists, lookaheads)
def test_neighbours_share_a_genre_only_where_nothing_else_was_within_reach(genres, lookahead):
    chosen = spaced(genres, len(genres), gap=1, lookahead=lookahead)
    for place in range(1, len(chosen)):
        genre = genres[chosen[place]]
        if genre >= 0 and genre == genres[chosen[place - 1]]:
            left = sorted(chosen[place:])[:lookahead]
            assert all(genres[each] == genre for each in left)


def test_items_of_no_genre_stand_beside_each_other():
    assert spaced([-1, -1, -1, 0], 4, gap=1, lookahead=4) == [0, 1, 2, 3]


rows = st.lists(st.integers(0, 30), unique=True, max_size=15)


@given(rows, st.lists(st.integers(0, 30), max_size=6), sizes)
def test_pins_come_first_and_nothing_is_lost_or_shown_twice(ranking, pinned, k):
    slate = with_pins(ranking, pinned, k)
    pins = list(dict.fromkeys(pinned))
    others = [row for row in ranking if row not in pins]
    assert slate == (pins + others)[:k]
    assert len(set(slate)) == len(slate)
