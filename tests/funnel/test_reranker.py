"""What may leave, at whatever tier: rules hold over the ranking, the lists below it and the pins alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.funnel.fakes import NOW_MS, catalog_of, ranked_of, rows_of
from upnext.funnel.request import SlateRequest
from upnext.funnel.reranking.reranker import Reranker
from upnext.settings import DAY_MS, RerankingSettings

N_ITEMS = 24
UNAVAILABLE, BLOCKED, PINNED = {3, 4}, {5, 6}, [20, 3, 5, 21]
CATALOG = catalog_of(
    N_ITEMS,
    available=dict.fromkeys(UNAVAILABLE, False),
    promoted={7: True, 11: True, 5: True},
    published_ms={8: NOW_MS - 1, 11: NOW_MS - 2, 3: NOW_MS - 3},
)
PLAIN = RerankingSettings(genre_gap=0, fresh_places=0, promoted_places=0)
FULL = RerankingSettings(blocked=tuple(map(str, BLOCKED)), pinned=tuple(map(str, PINNED)))

rankings = st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=N_ITEMS)
some_rows = st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=8)
masks = st.none() | st.lists(st.booleans(), min_size=N_ITEMS, max_size=N_ITEMS)
reranker, unpinned = Reranker(CATALOG, FULL), Reranker(CATALOG, RerankingSettings(blocked=FULL.blocked))
plain = Reranker(CATALOG, PLAIN)
spacing = Reranker(CATALOG, RerankingSettings(fresh_places=0, promoted_places=0))


def request_of(k, excluded=(), mask=None) -> SlateRequest:
    allowed = None if mask is None else np.array(mask) & CATALOG.available
    return SlateRequest(subject=None, k=k, exclude_rows=rows_of(*excluded), allowed=allowed)


def forbidden(seen, excluded, mask) -> set[int]:
    outside = set() if mask is None else {row for row in range(N_ITEMS) if not mask[row]}
    return UNAVAILABLE | BLOCKED | set(seen) | set(excluded) | outside


@given(rankings, rankings, rankings, st.integers(1, 30), some_rows, some_rows, masks)
def test_nothing_forbidden_leaves_and_no_slate_is_short(best, lower, lowest, k, seen, excluded, mask):
    request = request_of(k, excluded, mask)
    below = [ranked_of("fast", lower, 2), ranked_of("popular", lowest, 4)]
    slate = reranker.slate(ranked_of("full", best), request, rows_of(*seen), NOW_MS, below)
    rows = slate.rows.tolist()
    barred = forbidden(seen, excluded, mask)
    assert not barred & set(rows)
    assert len(set(rows)) == len(rows) == len(slate.scores) == len(slate.sources)
    assert len(rows) == min(k, len({*best, *lower, *lowest, *PINNED} - barred))
    pins = [row for row in PINNED if row not in barred][:k]
    assert rows[: len(pins)] == pins
    again = reranker.slate(ranked_of("full", best), request, rows_of(*seen), NOW_MS, below)
    assert again.rows.tolist() == rows


@given(rankings, rankings, st.integers(1, 30), some_rows)
def test_the_tier_is_that_of_the_best_list_that_gave_anything(best, lower, k, seen):
    below = [ranked_of("fast", lower, 2)]
    slate = unpinned.slate(ranked_of("full", best), request_of(k), rows_of(*seen), NOW_MS, below)
    barred = forbidden(seen, (), None)
    given_by = [tier for tier, rows in (("full", best), ("fast", lower)) if set(rows) - barred]
    if given_by:
        assert slate.tier == given_by[0]
    for row, score, source in zip(slate.rows.tolist(), slate.scores.tolist(), slate.sources.tolist(), strict=True):
        ranking, bit = (best, 1) if row in best else (lower, 2)
        ranked = ranked_of("any", ranking, bit)
        place = ranking.index(row)
        assert (score, source) == (ranked.scores[place], ranked.sources[place])


@given(rankings, rankings, st.integers(1, 30), some_rows)
def test_without_boosts_and_spacing_the_order_is_that_of_the_lists_one_after_the_other(best, lower, k, seen):
    slate = plain.slate(ranked_of("full", best), request_of(k), rows_of(*seen), NOW_MS, [ranked_of("fast", lower)])
    barred = UNAVAILABLE | set(seen)
    joined = dict.fromkeys([row for row in [*best, *lower] if row not in barred])
    kept_best = [row for row in best if row not in barred]
    assert slate.rows.tolist() == (kept_best if len(kept_best) >= k else list(joined))[:k]


def test_lists_below_are_not_even_looked_at_while_the_slate_is_full():
    def below():
        raise AssertionError("looked below")
        yield

    slate = plain.slate(ranked_of("full", [0, 1, 2]), request_of(3), rows_of(), NOW_MS, below())
    assert slate.rows.tolist() == [0, 1, 2]


@given(st.permutations(range(N_ITEMS)), st.integers(1, 8), st.integers(0, 2))
def test_looking_only_as_far_down_as_boosts_and_spacing_reach_changes_nothing(ranking, k, gap):
    settings = RerankingSettings(genre_gap=gap, genre_lookahead=3, fresh_places=2, promoted_places=4)
    made = Reranker(CATALOG, settings)
    short = made.slate(ranked_of("full", ranking), request_of(k), rows_of(), NOW_MS)
    everything = made.slate(ranked_of("full", ranking), request_of(N_ITEMS), rows_of(), NOW_MS)
    assert short.rows.tolist() == everything.rows[:k].tolist()


def test_seen_items_leave_where_the_settings_say_so():
    made = Reranker(CATALOG, RerankingSettings(drop_seen=False, genre_gap=0))
    slate = made.slate(ranked_of("full", [0, 1, 2]), request_of(3), rows_of(1), NOW_MS)
    assert slate.rows.tolist() == [0, 1, 2]


def test_an_item_is_fresh_for_a_day_of_the_clock_given():
    made = Reranker(CATALOG, RerankingSettings(genre_gap=0, fresh_places=2))
    ranking = ranked_of("full", [0, 1, 2, 8])
    assert made.slate(ranking, request_of(4), rows_of(), NOW_MS).rows.tolist() == [0, 8, 1, 2]
    assert made.slate(ranking, request_of(4), rows_of(), NOW_MS + DAY_MS).rows.tolist() == [0, 1, 2, 8]


@pytest.mark.parametrize("columns", [{"promoted": {2: True}}, {"published_ms": {2: NOW_MS - 1}}, {}])
def test_one_item_to_boost_in_the_whole_catalogue_is_enough(columns):
    made = Reranker(catalog_of(3, **columns), RerankingSettings(genre_gap=0))
    slate = made.slate(ranked_of("full", [0, 1, 2]), SlateRequest(None, k=3), rows_of(), NOW_MS)
    assert slate.rows.tolist() == ([2, 0, 1] if columns else [0, 1, 2])


def test_no_two_neighbours_share_a_genre_while_there_is_a_choice():
    slate = spacing.slate(ranked_of("full", [0, 4 * 3, 4 * 4, 1, 9, 2]), request_of(6), rows_of(), NOW_MS)
    assert slate.rows.tolist() == [0, 1, 12, 9, 16, 2]


def test_a_pin_from_outside_the_ranking_has_no_score_and_no_source():
    slate = reranker.slate(ranked_of("full", [20, 0]), request_of(3), rows_of(), NOW_MS)
    assert slate.rows.tolist() == [20, 21, 0]
    assert slate.scores.tolist() == [1.0, 0.0, 0.5]
    assert slate.sources.tolist() == [1, 0, 1]


def test_unknown_ids_in_the_settings_are_no_rows():
    made = Reranker(CATALOG, RerankingSettings(blocked=("nobody", "2"), pinned=("nothing",)))
    assert made.blocked.tolist() == [2]
    assert made.slate(ranked_of("full", [2, 1]), request_of(2), rows_of(), NOW_MS).rows.tolist() == [1]


@pytest.mark.parametrize("rows", [[], [3, 5]])
def test_a_slate_is_empty_only_when_nothing_is_allowed(rows):
    slate = unpinned.slate(ranked_of("full", rows), request_of(5), rows_of(), NOW_MS, [ranked_of("popular", rows)])
    assert slate.rows.tolist() == []
    assert slate.rows.dtype == np.int32


def test_a_slate_holds_until_one_of_its_items_begins_or_ceases_to_be_fresh() -> None:
    hour = 3_600_000
    published = {0: NOW_MS - 30 * hour, 1: NOW_MS - 20 * hour, 2: NOW_MS + 2 * hour}
    reranker = Reranker(catalog_of(5, published_ms=published), RerankingSettings(fresh_ms=24 * hour))
    rows = np.arange(5, dtype=np.int32)
    assert reranker.holds_until_ms(rows, NOW_MS) == NOW_MS + 2 * hour
    assert reranker.holds_until_ms(rows[:2], NOW_MS) == NOW_MS + 4 * hour
    assert reranker.holds_until_ms(rows[:1], NOW_MS) == np.inf
    assert reranker.holds_until_ms(rows[3:], NOW_MS) == np.inf, "a date that is not known"


def test_every_change_of_an_item_is_another_version() -> None:
    reranker = Reranker(catalog_of(5), RerankingSettings())
    versions = [reranker.version]
    reranker.withdraw(1)
    versions.append(reranker.version)
    reranker.item_changed(1)
    versions.append(reranker.version)
    assert len(set(versions)) == 3
