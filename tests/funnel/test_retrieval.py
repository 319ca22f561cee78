"""Stage one: what comes back, what is left out, and what is said about it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.funnel.fakes import ExactIndex, World, fail, noted, rows_of
from upnext.clock import Deadline
from upnext.features.signals import signals_of
from upnext.features.spec import SOURCE_BIT
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.request import SlateRequest
from upnext.funnel.retrieval import retrieval
from upnext.funnel.retrieval.retrieval import SOURCE_FUNCTIONS
from upnext.funnel.retrieval.sources import Indexes
from upnext.settings import RerankingSettings, RetrievalSettings, Settings

SIZES = dict.fromkeys(SOURCE_FUNCTIONS, 20)
OFF = dict.fromkeys(SOURCE_FUNCTIONS, 0)
SMALL = RetrievalSettings(candidates=40, **SIZES)


def candidates(funnel, clock, view, *, budget_ms=float("inf"), **request):
    answer = Answer(funnel.popular())
    signals = signals_of(view, funnel.catalog, funnel.vectors, funnel.crowd)
    asked = SlateRequest(**{"subject": None, "k": 10} | request)
    return funnel.candidates(view, signals, asked, answer, Deadline.after(clock, budget_ms)), answer


def nearest(table, query, n, among=None):
    """The right answer of vector search."""
    among = np.arange(len(table)) if among is None else among
    return among[np.argsort(-(table[among] @ query), kind="stable")[:n]].tolist()


def from_source(found, source):
    return {row for row, bits in zip(found.rows.tolist(), found.sources.tolist(), strict=True) if bits & source}


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_every_source_gives_what_it_says(kind):
    world = World()
    popular = list(range(60, 90))
    indexes = world.real_indexes() if kind == "real" else world.indexes()
    funnel = world.funnel(Settings(retrieval=SMALL), indexes=indexes, popular=popular)
    funnel.crowd.covisits.observe(1, 150, 0)
    funnel.crowd.covisits.observe(2, 151, 0)
    view = world.view(recent=[1, 2], n_interactions=2)
    found, answer = candidates(funnel, world.clock, view)
    session = nearest(world.session, np.append(view.session_vector, 1), 20)
    profile = 1.0 * world.content[2] + 0.6 * world.content[1]
    wanted = {
        "session_vector": session,
        "user_vector": nearest(world.user, view.user_vector, 20),
        "content": nearest(world.content, profile, 20),
        "covisit": [151, 150],
        "popular": popular[:20],
        "trending": popular[:20],
    }
    kept = set(found.rows.tolist())
    assert len(kept) == len(found.rows) == 40
    for source, rows in wanted.items():
        assert from_source(found, SOURCE_BIT[source]) == set(rows) & kept
    assert noted(answer) == []
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_sessions_of_others_tell_what_goes_with_the_users_latest_items():
    world = World()
    funnel = world.funnel(Settings(retrieval=RetrievalSettings(**OFF | {"session_knn": 5})))
    for visitor, rows in enumerate([(1, 50, 51), (1, 51), (2, 52), (1, 2, 53)]):
        for row in rows:
            funnel.crowd.observe(visitor, 7, row, 1_000)
    found, answer = candidates(funnel, world.clock, world.view(recent=[9, 2, 1]))
    assert found.rows.tolist() == [51, 53, 50, 52], "the last item counts most, and is no answer itself"
    assert set(found.sources.tolist()) == {SOURCE_BIT["session_knn"]}
    assert noted(answer) == []
    off = world.funnel(Settings(retrieval=RetrievalSettings(**OFF)))
    assert off.crowd.sessions is None


def test_the_content_source_runs_only_until_a_user_has_enough_interactions():
    world = World()
    funnel = world.funnel(Settings(retrieval=SMALL))
    few, _ = candidates(funnel, world.clock, world.view(recent=[1], n_interactions=4))
    enough, answer = candidates(funnel, world.clock, world.view(recent=[1], n_interactions=5))
    assert from_source(few, SOURCE_BIT["content"])
    assert not from_source(enough, SOURCE_BIT["content"])
    assert noted(answer) == []


def test_a_failing_source_is_left_out_and_noted():
    world = World()
    funnel = world.funnel(Settings(retrieval=SMALL), indexes=world.indexes(user=fail), popular=[5])
    found, answer = candidates(funnel, world.clock, world.view())
    assert noted(answer) == [("retrieval.user_vector", "error")]
    assert from_source(found, SOURCE_BIT["session_vector"])
    assert not from_source(found, SOURCE_BIT["user_vector"])


def test_sources_after_the_deadline_are_not_asked():
    world = World()
    indexes = world.indexes(session=lambda: world.clock.advance(10))
    funnel = world.funnel(Settings(retrieval=SMALL), indexes=indexes, popular=[5])
    found, answer = candidates(funnel, world.clock, world.view(recent=[1]), budget_ms=10)
    later = [source for source in SOURCE_FUNCTIONS if source != "session_vector"]
    assert noted(answer) == [(f"retrieval.{source}", "deadline") for source in later]
    assert set(found.sources.tolist()) == {SOURCE_BIT["session_vector"]}
    assert indexes.user.asked == []


def test_a_source_of_size_zero_is_switched_off():
    world = World()
    only_session = RetrievalSettings(**OFF | {"session_vector": 20})
    funnel = world.funnel(Settings(retrieval=only_session), popular=[5])
    found, _ = candidates(funnel, world.clock, world.view(recent=[1]))
    assert set(found.sources.tolist()) == {SOURCE_BIT["session_vector"]}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 199), unique=True, max_size=190),
    st.lists(st.integers(0, 199), unique=True, max_size=20),
    st.sets(st.integers(0, 199), min_size=30),
    st.booleans(),
    st.booleans(),
)
def test_candidates_never_hold_what_the_rules_would_drop_and_still_are_enough(seen, excluded, kept, filtered, real):
    mask = np.isin(np.arange(200), list(kept)) & shop.catalog.available
    allowed = mask if filtered else None
    view = shop.view(seen=seen, recent=seen[:5])
    funnel = shop_funnels[real]
    found, answer = candidates(funnel, shop.clock, view, exclude_rows=rows_of(*excluded), allowed=allowed)
    eligible = set(np.flatnonzero(mask if filtered else shop.catalog.available).tolist())
    eligible -= {*seen, *excluded, 0}
    rows = found.rows.tolist()
    assert set(rows) <= eligible
    assert len(set(rows)) == len(rows)
    among = np.array(sorted(eligible), np.intp)
    assert set(nearest(shop.session, np.append(view.session_vector, 1), 20, among)) <= set(rows)
    assert set(nearest(shop.user, view.user_vector, 20, among)) <= set(rows)
    assert {row for row in range(0, 200, 2) if row in eligible} <= set(rows)
    assert noted(answer) == []


shop = World(available=dict.fromkeys(range(0, 200, 3), False))
uncut = RetrievalSettings(candidates=200, user_vector=20, session_vector=20, popular=100)
shop_settings = Settings(retrieval=uncut, reranking=RerankingSettings(blocked=("0",)))
shop_funnels = [
    shop.funnel(shop_settings, indexes=indexes, popular=range(0, 200, 2))
    for indexes in (shop.indexes(), shop.real_indexes())
]


def test_what_is_unavailable_does_not_crowd_out_the_rest():
    world = World(available=dict.fromkeys(range(20, 200), False))
    only_session = RetrievalSettings(**OFF | {"session_vector": 20})
    found, _ = candidates(world.funnel(Settings(retrieval=only_session)), world.clock, world.view())
    assert sorted(found.rows.tolist()) == list(range(20))


@pytest.mark.parametrize("source", ["popular", "trending", "covisit"])
def test_a_narrow_filter_finds_its_items_further_down_a_list(source):
    world = World()
    funnel = world.funnel(Settings(retrieval=RetrievalSettings(**OFF | {source: 5})), popular=range(50))
    for row in range(2, 50):
        for _ in range(50 - row):
            funnel.crowd.covisits.observe(1, row, 0)
    allowed = np.zeros(200, np.bool_)
    allowed[[44, 46, 48]] = True
    found, _ = candidates(funnel, world.clock, world.view(recent=[1]), allowed=allowed)
    assert found.rows.tolist() == [44, 46, 48]


@pytest.mark.parametrize("reason", ["seen", "excluded"])
def test_a_long_list_of_items_to_leave_out_is_filtered_inside_the_search(reason, monkeypatch):
    monkeypatch.setattr(retrieval, "_MOST_SPARE", 100)
    world = World()
    indexes = world.indexes()
    funnel = world.funnel(Settings(retrieval=SMALL), indexes=indexes)

    def left_without(out):
        seen, excluded = (out, ()) if reason == "seen" else ((), out)
        return candidates(funnel, world.clock, world.view(seen=seen), exclude_rows=rows_of(*excluded))[0].rows.tolist()

    rows = left_without(range(150))
    assert indexes.user.asked == [20]
    assert min(rows) >= 150
    assert len(rows) >= 20
    rows = left_without(range(160, 190))  # of another user, who may well have what the first could not
    assert indexes.user.asked == [20, 50]
    assert min(rows) < 150
    rows = left_without(range(30, 180))  # as may the third, who has as much to leave out
    assert indexes.user.asked == [20, 50, 20]
    assert min(rows) < 30
    assert not set(rows) & set(range(30, 180))


def test_seen_items_are_candidates_where_the_settings_show_them_again():
    world = World()
    again = Settings(retrieval=SMALL, reranking=RerankingSettings(drop_seen=False))
    view = world.view(seen=range(200))
    found, _ = candidates(world.funnel(again), world.clock, view)
    assert found.rows[0] in nearest(world.session, np.append(view.session_vector, 1), 20) + nearest(
        world.user, view.user_vector, 20
    )
    assert len(found.rows) >= 20


def test_a_user_with_nothing_known_gets_what_is_popular():
    world = World()
    found, answer = candidates(world.funnel(popular=[9, 4, 7]), world.clock, UserView())
    assert found.rows.tolist() == [9, 4, 7]
    assert noted(answer) == []


@pytest.mark.parametrize(("n_withdrawn", "asked"), [(0, 20), (1, 21), (100, 120), (101, 20)])
def test_a_few_withdrawn_items_are_dropped_after_the_search_and_many_inside_it(n_withdrawn, asked):
    world = World()
    indexes = world.indexes()
    funnel = world.funnel(Settings(retrieval=RetrievalSettings(**OFF | {"session_vector": 20})), indexes=indexes)
    view = world.view()
    order = np.array(nearest(world.session, np.append(view.session_vector, 1), 200))
    before, _ = candidates(funnel, world.clock, view)
    funnel.reranker.allowed[order[:n_withdrawn]] = False
    funnel.retrieval.allowed_changed()
    found, _ = candidates(funnel, world.clock, view)
    assert before.rows.tolist() == order[:20].tolist()
    assert found.rows.tolist()[:20] == order[n_withdrawn : n_withdrawn + 20].tolist(), "even where all are near"
    assert indexes.session.asked == [20, asked]


class Grown(World):
    """A world whose last 40 items are in no index."""

    def indexes(self):
        tables = (self.session, self.user, self.content)
        return Indexes(*(ExactIndex(table[:-40]) for table in tables))


FRESH = Settings(retrieval=RetrievalSettings(**OFF | {"fresh": 5}))


@pytest.mark.parametrize("n", [5, 30])
@pytest.mark.parametrize("space", ["session", "user", "content", None])
def test_fresh_items_come_by_the_best_vector_there_is_of_the_user_else_the_newest_first(space, n):
    world = Grown(available={170: False})
    funnel = world.funnel(Settings(retrieval=RetrievalSettings(**OFF | {"fresh": n})))
    view = world.view(recent=[3] if space else [], seen=[180])
    query = {"session": np.append(view.session_vector, 1), "user": view.user_vector, "content": world.content[3]}
    if space != "session":
        view.session_vector = np.empty(0, np.float32)
    if space in ("content", None):
        view.user_vector = np.empty(0, np.float32)
    among = np.array([row for row in range(199, 159, -1) if row not in (170, 180)])
    expected = nearest(getattr(world, space), query[space], n, among) if space else among[:n].tolist()
    found, _ = candidates(funnel, world.clock, view)
    assert found.rows.tolist()[: n - 1] == expected[: n - 1]
    assert set(found.sources.tolist()) == {SOURCE_BIT["fresh"]}


@pytest.mark.parametrize("known", [True, False])
def test_a_narrow_filter_finds_its_fresh_items_further_down(known):
    world = Grown()
    allowed = np.isin(np.arange(200), [3, 161, 163])
    view = world.view() if known else UserView()
    found, _ = candidates(world.funnel(FRESH), world.clock, view, allowed=allowed)
    assert sorted(found.rows.tolist()) == [161, 163]


def test_fresh_items_that_score_alike_come_newest_first():
    world = Grown()
    world.session[160:] = 0.0
    assert candidates(world.funnel(FRESH), world.clock, world.view())[0].rows.tolist() == [199, 198, 197, 196, 195]


def test_items_like_one_are_the_nearest_in_the_first_space_that_knows_it_wherever_they_are():
    world = Grown(available={5: False, 190: False})
    world.user[[7, 8]] = 0.0
    world.session[8] = [0.0] * 8 + [3.0]
    funnel = world.funnel(FRESH)
    unbiased = world.session.copy()
    unbiased[:, -1] = 0.0
    asked = {9: (world.user, world.user), 7: (world.session, unbiased), 170: (world.user, world.user)}
    for row, (table, questions) in {**asked, 8: (world.content, world.content)}.items():
        query = questions[row]
        among = np.array([each for each in range(200) if each not in (5, 190, row)])
        rows, scores = funnel.retrieval.similar(row, 30)
        assert rows.tolist() == nearest(table, query, 30, among)
        np.testing.assert_allclose(scores, table[rows] @ query, rtol=1e-5)
        narrow = np.isin(np.arange(200), [1, 2, 3, row, 165, 190])
        request = SlateRequest(None, k=3, allowed=narrow, exclude_rows=rows_of(2))
        few, _ = funnel.retrieval.similar(row, 30, request)
        assert set(few.tolist()) == {1, 3, 165} - {row}
    world.content[8] = 0.0
    assert funnel.retrieval.similar(8, 5) is None
