"""Items posted, changed, blocked and deleted while a release is in force."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from tests.funnel.fakes import NOW_MS, noted, rows_of, run
from tests.funnel.small_release import N_ITEMS, SPACES, SPARE, release_of, topic_item
from upnext.clock import Deadline
from upnext.domain.event import Event, Item
from upnext.features.content_text import embed_text, words_of
from upnext.features.spec import SOURCE_BIT
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer, Ranked
from upnext.funnel.live import Live, open_live
from upnext.funnel.request import SlateRequest
from upnext.ingest.records import ItemChange
from upnext.release.release import Release
from upnext.settings import ItemSettings, RerankingSettings, Settings
from upnext.state.apply import apply_events
from upnext.store.memory_store import MemoryStore

REVISION = 40  # of the release
TOPIC = 1
OF_TOPIC = set(range(TOPIC, N_ITEMS, 3))


@pytest.fixture
def live(release, parts) -> Live:
    return opened(release, parts)


def opened(release: Release, parts, **reranking) -> Live:
    settings = Settings(reranking=RerankingSettings(**{"genre_gap": 0} | reranking), items=ItemSettings(neighbours=3))
    return open_live(release, settings, parts.world.clock)


def post(live: Live, *items: Item | str, take_in: bool = True) -> None:
    """Puts items; deletes those given by id."""
    changes = [
        ItemChange(live.fresh.revision + place, *((each, None) if isinstance(each, str) else (each.item_id, each)))
        for place, each in enumerate(items, start=1)
    ]
    live.fresh.apply(changes)
    while take_in and live.fresh.take_in():
        pass


def every_slate(live: Live, parts, view: UserView, request: SlateRequest, known: str) -> dict[str, list[int]]:
    """The rows that leave at each tier and on every other way out; slates long enough for all there is."""
    funnel, clock, slates = live.funnel, parts.world.clock, {}
    asked = {"k": request.k, "exclude_rows": request.exclude_rows, "allowed": request.allowed}
    slates["full"] = run(funnel, clock, view, **asked)
    ranker, funnel.ranker = funnel.ranker, None
    slates["fast"] = run(funnel, clock, view, **asked)
    funnel.ranker = ranker
    slates["popular"] = run(funnel, clock, view, **asked, budget_ms=-1)
    assert [answer.slate.tier for answer in slates.values()] == ["full", "fast", "popular"]
    rows = {name: answer.slate.rows.tolist() for name, answer in slates.items()}
    nothing_yet = Answer(Ranked("popular", rows_of(), np.empty(0, np.float32), np.empty(0, np.uint8)))
    rows["topped up"] = funnel.finish(request, nothing_yet).rows.tolist()
    similar = funnel.retrieval.similar(funnel.catalog.row_of(known), request.k, request)
    rows["similar"] = [] if similar is None else similar[0].tolist()
    return rows


def everything(parts, *, recent=(1, 4, 7), **request) -> tuple[UserView, SlateRequest]:
    return replace(parts.world.view(recent=recent), n_interactions=3), SlateRequest("u:1", **{"k": 100} | request)


def test_a_posted_item_leaves_in_slates_as_soon_as_it_is_taken_in_and_not_before(live, parts):
    asked = everything(parts)
    post(live, topic_item("new", TOPIC, title="A garden"), take_in=False)
    row = live.funnel.catalog.row_of("new")
    assert row == N_ITEMS
    assert all(row not in rows for rows in every_slate(live, parts, *asked, "1").values())
    assert live.fresh.coming == 1
    assert live.fresh.take_in() is False
    slates = every_slate(live, parts, *asked, "1")
    assert all(row in rows for rows in slates.values()), slates
    answer = run(live.funnel, parts.world.clock, asked[0], k=100)
    assert answer.slate.sources[answer.slate.rows.tolist().index(row)] == SOURCE_BIT["fresh"]
    catalog = live.funnel.catalog
    assert (catalog.ids.take(rows_of(row, 3)), catalog.titles[row]) == (["new", "3"], "A garden")


def test_a_new_item_is_like_those_that_read_like_it_in_every_space(live, parts):
    post(live, topic_item("new", TOPIC))
    rows, scores = live.funnel.retrieval.similar(N_ITEMS, 20)
    assert set(rows.tolist()) == OF_TOPIC
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    near, _ = live.funnel.retrieval.similar(TOPIC, 20)
    assert set(near.tolist()) == OF_TOPIC - {TOPIC} | {N_ITEMS}


def test_session_and_user_vectors_are_means_of_the_nearest_by_content_weighted_by_likeness(live, parts):
    item = Item(item_id="new", title="tulip meadow", genres=("genre 1",), text="ember, and a comet")
    post(live, item)
    vectors, world = live.funnel.vectors, parts.world
    content = embed_text(parts.text, words_of(item.title, item.genres, item.text))
    np.testing.assert_array_equal(vectors.content[N_ITEMS], content)
    likeness = world.content.astype(np.float16).astype(np.float32) @ content
    nearest = np.argsort(-likeness, kind="stable")[:3]
    assert set(nearest.tolist()) == {4, 25, 46}
    shares = likeness[nearest] / likeness[nearest].sum()
    np.testing.assert_allclose(vectors.session[N_ITEMS], shares @ world.vectors.session[nearest], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(vectors.user[N_ITEMS], shares @ world.vectors.user[nearest], rtol=1e-3, atol=1e-4)


def test_items_without_vectors_lend_none(parts, tmp_path):
    session, user = parts.world.vectors.session.copy(), parts.world.vectors.user.copy()
    met = [25, 46]  # the third of the nearest, 4, is not
    for table in (session[:, :-1], user):
        table[~np.isin(np.arange(N_ITEMS), met)] = 0.0
    live = opened(release_of(tmp_path, parts, session=session, user=user), parts)
    post(live, topic_item("new", TOPIC, text="ember"))
    np.testing.assert_allclose(live.funnel.vectors.user[N_ITEMS], user[met].mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(live.funnel.vectors.session[N_ITEMS], session[met].mean(axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("without", [(), ("content",)])
def test_an_item_of_which_no_word_is_known_is_scored_like_the_least_liked_and_leaves_all_the_same(
    parts, tmp_path, without
):
    live = opened(release_of(tmp_path, parts, without=without), parts)
    post(live, Item(item_id="new", title="unheard of"))
    vectors = live.funnel.vectors
    assert not vectors.user[N_ITEMS].any()
    assert vectors.session[N_ITEMS].tolist() == [0.0] * 16 + [parts.world.vectors.session[:, -1].min()]
    assert live.funnel.retrieval.similar(N_ITEMS, 5) is None
    slates = every_slate(live, parts, *everything(parts), "1")
    assert all(N_ITEMS in slates[tier] for tier in ("full", "fast", "popular", "topped up"))


def test_the_ranker_sees_a_new_item_as_a_training_would_have_shown_it(live, parts):
    item = topic_item("new", TOPIC, price=3.5, published_ms=NOW_MS)
    post(live, item)
    inputs = live.funnel.assembler.items(live.funnel.crowd.trends)
    expected = parts.exported.items.rows(inputs[[1, N_ITEMS]])
    table = live.funnel.ranker._items
    np.testing.assert_array_equal(table[N_ITEMS], expected[1])
    assert table[N_ITEMS].any()
    named = dict(zip(parts.spec.item, inputs[N_ITEMS].tolist(), strict=True))
    assert (named["learnt"], named["genre:genre 1"]) == (1.0, 1.0)
    assert named["price"] == pytest.approx(np.log1p(3.5))


def test_a_click_on_a_new_item_is_seen_and_moves_the_session(live, parts):
    post(live, topic_item("new", TOPIC), topic_item("another", TOPIC))
    store, never = MemoryStore(parts.world.clock), Deadline.never(parts.world.clock)
    click = Event(event_id="1", action="click", timestamp_ms=NOW_MS, user_id="1", item_id="new")
    apply_events([(1, click)], store, live.stepper, Settings().state, never)
    live.funnel.crowd.observe(1, 0, N_ITEMS, NOW_MS)
    view = live.view("u:1", store, never)
    assert (view.recent_rows.tolist(), view.seen_rows.tolist()) == ([N_ITEMS], [N_ITEMS])
    assert len(view.session_vector)
    answer = run(live.funnel, parts.world.clock, view, k=100)
    assert noted(answer) == []
    assert N_ITEMS + 1 in answer.slate.rows.tolist()
    assert N_ITEMS not in answer.slate.rows.tolist()
    assert N_ITEMS in live.funnel.popular().rows.tolist()


GONE = [
    pytest.param(lambda item: item.item_id, id="deleted"),
    pytest.param(lambda item: topic_item(item.item_id, TOPIC, blocked=True), id="blocked"),
    pytest.param(lambda item: topic_item(item.item_id, TOPIC, available=False), id="unavailable"),
]


@pytest.mark.parametrize("gone", GONE)
@pytest.mark.parametrize("item_id", ["4", "new"])
def test_what_is_withdrawn_leaves_at_no_tier_from_the_next_request_on_not_even_pinned(parts, release, item_id, gone):
    live = opened(release, parts, pinned=("4", "new"))
    item = topic_item(item_id, TOPIC)
    post(live, topic_item("new", TOPIC), topic_item("other", TOPIC))
    row, asked = live.funnel.catalog.row_of(item_id), everything(parts, recent=(1, 7))
    before = every_slate(live, parts, *asked, "1")
    assert all(row in rows for rows in before.values())
    assert before["full"][:2] == [4, N_ITEMS]
    post(live, gone(item), take_in=False)
    assert all(row not in rows for rows in every_slate(live, parts, *asked, "1").values())
    post(live, item)
    assert live.funnel.catalog.row_of(item_id) == row, "it comes back where it was"
    assert all(row in rows for rows in every_slate(live, parts, *asked, "1").values())


@pytest.mark.parametrize("seed", range(8))
def test_whatever_changes_between_requests_only_what_may_leave_does(parts, release, seed):
    rng = np.random.default_rng(seed)
    live = opened(release, parts, pinned=("5", "p"), blocked=("6", "b"))
    ids = [*map(str, range(0, N_ITEMS, 4)), "5", "6", "b", "p", *(f"n{number}" for number in range(SPARE - 2))]
    now: dict[str, Item | None] = {str(row): topic_item(str(row), row % 3) for row in range(N_ITEMS)}
    for _ in range(25):
        changed = rng.choice(ids, rng.integers(1, 5), replace=False).tolist()
        for item_id in changed:
            fields = {"available": rng.random() < 0.8, "blocked": rng.random() < 0.2, "promoted": rng.random() < 0.2}
            regions = ("DE",) if rng.random() < 0.3 else ()
            item = topic_item(item_id, int(rng.integers(3)), regions=regions, **fields)
            now[item_id] = None if rng.random() < 0.25 else item
        post(live, *(now[item_id] or item_id for item_id in changed), take_in=(taken := rng.random() < 0.7))
        genres, region = (["genre 1"], "FR") if rng.random() < 0.5 else ([], None)
        allowed = live.funnel.catalog.allowed(genres=genres, region=region) if genres else None
        may_leave = {item_id for item_id, item in now.items() if item and leaves(item, genres, region)}
        view, request = everything(parts, recent=rng.integers(0, N_ITEMS, 3).tolist(), allowed=allowed)
        for way, rows in every_slate(live, parts, view, request, "1").items():
            out = live.funnel.catalog.ids.take(np.array(rows, np.int32))
            assert len(set(out)) == len(out)
            assert set(out) <= may_leave - {"6", "b"}, way
            if taken and way in ("full", "fast", "popular", "topped up"):
                assert set(out) == may_leave - {"6", "b"}, way
    assert live.fresh.waiting == 0


def leaves(item: Item, genres: list[str], region: str | None) -> bool:
    fits = not genres or set(genres) & set(item.genres)
    return bool(item.available and not item.blocked and fits and (region is None or region in (item.regions or region)))


def test_facts_of_an_item_change_at_once_wherever_they_are_looked_at(live, parts):
    catalog, assembler = live.funnel.catalog, live.funnel.assembler
    changed = Item(item_id="4", title="New", genres=("brand new",), price=9.0, published_ms=NOW_MS, promoted=True)
    post(live, changed, take_in=False)
    assert (catalog.titles[4], catalog.genres[catalog.genre[4]], catalog.price[4]) == ("New", "brand new", 9.0)
    assert np.flatnonzero(catalog.allowed(genres=["brand new"])).tolist() == [4]
    assert 4 not in np.flatnonzero(catalog.allowed(genres=["genre 1"]))
    assert assembler._published_ms[4] == NOW_MS
    slate = run(live.funnel, parts.world.clock, parts.world.view(), k=60)
    ranked = slate.ranked.rows.tolist()
    assert slate.slate.rows.tolist().index(4) == max(ranked.index(4) - 8, 0), "promoted and published now: both boosts"
    np.testing.assert_array_equal(live.funnel.vectors.user[4], parts.world.vectors.user[4])


@pytest.mark.parametrize(("fields", "places"), [({"promoted": True}, 5), ({"published_ms": NOW_MS}, 3), ({}, 0)])
def test_the_first_item_to_boost_moves_up_though_the_release_had_none(live, parts, fields, places):
    view = parts.world.view()
    ranked = run(live.funnel, parts.world.clock, view, k=60).slate.rows.tolist()
    post(live, topic_item(str(ranked[20]), ranked[20] % 3, **fields))
    assert run(live.funnel, parts.world.clock, view, k=60).slate.rows.tolist().index(ranked[20]) == 20 - places


def test_an_item_with_a_new_text_moves_to_where_it_belongs_once_it_is_taken_in(live):
    post(live, topic_item("new", TOPIC))
    before = live.funnel.vectors.user[N_ITEMS].copy()
    post(live, topic_item("new", 2), take_in=False)
    assert live.funnel.catalog.titles[N_ITEMS] == topic_item("new", 2).title
    assert live.funnel.reranker.allowed[N_ITEMS]
    np.testing.assert_array_equal(live.funnel.vectors.user[N_ITEMS], before)
    assert live.fresh.take_in() is False
    assert set(live.funnel.retrieval.similar(N_ITEMS, 20)[0].tolist()) == set(range(2, N_ITEMS, 3))


def test_changes_applied_before_are_passed_over(live):
    live.fresh.apply([ItemChange(REVISION, "1", None), ItemChange(REVISION + 3, "2", None)])
    assert live.fresh.revision == REVISION + 3
    live.fresh.apply([ItemChange(REVISION + 2, "4", None), ItemChange(REVISION + 4, "7", None)])
    assert np.flatnonzero(~live.funnel.reranker.allowed[:N_ITEMS]).tolist() == [2, 7]


def test_a_withdrawal_holds_before_its_turn_whatever_older_change_still_comes(live):
    older = [ItemChange(REVISION + 1, "1", topic_item("1", 0)), ItemChange(REVISION + 2, "2", topic_item("2", 0))]
    withdrawal = ItemChange(REVISION + 3, "1", None)
    live.fresh.withdraw([withdrawal], REVISION + 3)
    assert (live.fresh.heeded, live.fresh.revision) == (REVISION + 3, REVISION)
    assert np.flatnonzero(~live.funnel.reranker.allowed[:N_ITEMS]).tolist() == [1]
    live.fresh.apply(older)  # read before the item was withdrawn
    assert np.flatnonzero(~live.funnel.reranker.allowed[:N_ITEMS]).tolist() == [1]
    assert live.funnel.catalog.titles[2] == topic_item("2", 0).title
    live.fresh.apply([withdrawal])
    assert live.fresh.revision == REVISION + 3
    assert np.flatnonzero(~live.funnel.reranker.allowed[:N_ITEMS]).tolist() == [1]
    live.fresh.apply([ItemChange(REVISION + 4, "1", topic_item("1", 0))])
    assert live.funnel.reranker.allowed[1]


def test_items_past_the_spare_rows_wait_for_the_next_release_and_are_told_of_once(live, parts, caplog):
    caplog.set_level(logging.WARNING)
    names = [f"n{number}" for number in range(SPARE + 3)]
    post(live, *(topic_item(name, TOPIC) for name in names))
    assert (live.fresh.waiting, live.funnel.catalog.n_fresh) == (3, SPARE)
    assert [record.getMessage()[:14] for record in caplog.records] == [f"all {SPARE} rows tha"[:14]]
    slates = every_slate(live, parts, *everything(parts), "1")
    assert {*range(N_ITEMS, N_ITEMS + SPARE)} <= set(slates["full"])
    post(live, names[-1], topic_item(names[-2], TOPIC, blocked=True), topic_item(names[0], 2))
    assert live.fresh.waiting == 1
    assert live.funnel.catalog.titles[N_ITEMS] == topic_item("", 2).title


def test_what_is_withdrawn_before_it_is_taken_in_is_not_embedded_any_more(live):
    post(live, topic_item("new", 0), topic_item("other", 0), "new", take_in=False)
    assert live.fresh.coming == 1


def test_what_may_not_leave_takes_no_spare_row(live):
    post(live, topic_item("blocked", 0, blocked=True), topic_item("out", 0, available=False), "never heard of")
    assert (live.funnel.catalog.n_fresh, live.fresh.coming, live.fresh.waiting) == (0, 0, 0)


@pytest.mark.parametrize("last", [None, topic_item("new", 2)])
def test_an_item_that_changes_while_it_is_embedded_is_not_let_in_as_it_was(live, monkeypatch, last):
    post(live, topic_item("new", TOPIC), take_in=False)
    embed = live.fresh._vectors.of

    def changing_meanwhile(items):
        vectors = embed(items)
        if items[0].title == topic_item("", TOPIC).title:
            post(live, last or "new", take_in=False)
        return vectors

    monkeypatch.setattr(live.fresh._vectors, "of", changing_meanwhile)
    more = live.fresh.take_in()
    assert not live.funnel.reranker.allowed[N_ITEMS]
    assert more is (last is not None)
    live.fresh.take_in()
    assert bool(live.funnel.reranker.allowed[N_ITEMS]) is (last is not None)


class Watched(np.ndarray):
    """An array that calls before anything is written to it."""

    before = staticmethod(lambda where, value: None)

    def __setitem__(self, where, value) -> None:
        self.before(where, value)
        super().__setitem__(where, value)


def test_an_item_is_whole_before_it_may_leave_and_may_not_leave_before_it_changes_for_good(live):
    catalog, funnel = live.funnel.catalog, live.funnel
    item = topic_item("new", TOPIC, price=2.0, published_ms=NOW_MS, promoted=True, regions=("DE",))
    told = []

    def whole(where, value) -> None:
        if where == N_ITEMS and value:
            told.append("let in")
            assert all(getattr(funnel.vectors, space)[where].any() for space in SPACES)
            assert funnel.ranker._items[where].any()
            assert (catalog.ids[where], catalog.titles[where]) == ("new", item.title)
            assert (catalog.price[where], catalog.published_ms[where], catalog.promoted[where]) == (2.0, NOW_MS, True)
            assert (catalog.genre[where], catalog.unrestricted[where], catalog.available[where]) == (TOPIC, False, True)
            assert catalog.allowed(genres=["genre 1"], region="DE")[where]
            assert (funnel.assembler._published_ms[where], funnel.assembler._inverse_norms[where] > 0) == (NOW_MS, True)

    def withdrawn(where, value) -> None:
        told.append("repriced")
        assert not funnel.reranker.allowed[where]

    class Allowed(Watched):
        before = staticmethod(whole)

    class Price(Watched):
        before = staticmethod(withdrawn)

    funnel.reranker.allowed = funnel.reranker.allowed.view(Allowed)
    post(live, item)
    assert told == ["let in"]
    catalog.price = catalog.price.view(Price)
    post(live, topic_item("new", TOPIC, blocked=True, price=5.0))
    assert told == ["let in", "repriced"]


def test_a_release_in_force_never_changes_its_files_nor_anybody_elses_view_of_them(release, parts):
    live, other = opened(release, parts), opened(release, parts)
    post(live, *(topic_item(f"n{number}", number % 3) for number in range(SPARE)), "0", topic_item("3", 2, title="!"))
    Release.open(release.folder, verify=True)
    assert (other.funnel.catalog.n_fresh, other.funnel.catalog.row_of("n1"), other.funnel.catalog.titles[3][:5]) == (
        0, -1, "comet",
    )  # fmt: skip
    assert not other.funnel.vectors.user[N_ITEMS:].any()
    assert not other.funnel.ranker._items[N_ITEMS:].any()
    assert other.funnel.reranker.allowed.tolist() == [True] * N_ITEMS + [False] * SPARE
    assert opened(release, parts).funnel.catalog.available[0]
