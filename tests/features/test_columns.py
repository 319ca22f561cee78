"""The engineered columns: worked out by hand, alone and together, for users and items of whom little is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features import world
from upnext.catalog.catalog import Catalog
from upnext.domain.event import Item
from upnext.features.assemble import Assembler
from upnext.features.item_vectors import ItemVectors
from upnext.features.signals import signals_of
from upnext.features.spec import ALL_CROSS, CROSS, EVERYTHING, SOURCE_BIT, SOURCES, Chosen
from upnext.features.user_view import UserView
from upnext.settings import DAY_MS, HOUR_MS, Settings
from upnext.state.crowd import Crowd

KNOWN = UserView(
    n_interactions=3,
    last_ms=world.NOW_MS - HOUR_MS // 2,
    recent_rows=np.array([3, 0, 1], np.int32),
    seen_rows=np.array([0, 1, 3], np.int32),
    user_vector=np.array([2, 1], np.float32),
    session_vector=np.array([3, 4], np.float32),
)
ROWS = np.arange(world.N_ITEMS, dtype=np.int32)


def inputs(view: UserView, catalog: Catalog, chosen: Chosen, **parts: object) -> tuple[np.ndarray, np.ndarray]:
    """Cross and user inputs for all items of the world."""
    vectors = parts.get("vectors", world.vectors())
    crowd = parts.get("crowd", world.crowd())
    sources = parts.get("sources", np.zeros(catalog.n_items, np.uint16))
    assembler = Assembler(catalog, vectors, chosen)
    known = signals_of(view, catalog, vectors, crowd, parts.get("context", ()))
    rows = np.arange(catalog.n_items, dtype=np.int32)
    cross = assembler.cross(view, known, rows, sources, crowd, parts.get("fused"))
    return cross, assembler.user(view, known, crowd)


class Near(list[float]):
    """Numbers that are the same but for rounding, together or one by one."""

    def __eq__(self, other: object) -> bool:
        return list(self) == pytest.approx(other, rel=1e-5, abs=1e-6)

    __hash__ = None

    def __getitem__(self, place: int):
        return pytest.approx(super().__getitem__(place), rel=1e-5, abs=1e-6)


def column(name: str, view: UserView = KNOWN, **parts: object) -> Near:
    """One column of all items of the world."""
    cross, _ = inputs(view, parts.pop("catalog", world.catalog()), Chosen(cross=(name,)), **parts)
    return Near(cross[:, 0].tolist())


def number(name: str, view: UserView = KNOWN, **parts: object) -> float:
    """One number of a user."""
    catalog = parts.pop("catalog", world.catalog())
    _, user = inputs(view, catalog, Chosen(user=("interactions", name)), **parts)
    return pytest.approx(float(user[len(user) - 1 - len(catalog.genres)]), rel=1e-5, abs=1e-6)


def priced(*prices: float | None) -> Catalog:
    genres = ("Drama", "Drama", "Drama", "Comedy", "Comedy", "War", None, "Drama")
    return Catalog.build(
        Item(item_id=f"i{row}", genres=(genre,) if genre else (), price=price)
        for row, (genre, price) in enumerate(zip(genres, prices, strict=True))
    )


def test_there_are_more_than_a_hundred_inputs_to_choose_from_each_named_once() -> None:
    assert len(EVERYTHING.cross) + len(EVERYTHING.user) + len(EVERYTHING.item) > 160
    for names in (EVERYTHING.cross, EVERYTHING.user, EVERYTHING.item):
        assert len(set(names)) == len(names)
    assert ALL_CROSS[: len(CROSS)] == CROSS


def test_cosines_to_each_of_the_newest_items_and_over_them() -> None:
    session = world.vectors().session[:, :-1]
    units = session / np.maximum(np.linalg.norm(session, axis=1, keepdims=True), 1e-9)
    newest = units @ units[[1, 0, 3]].T
    assert column("session_near_2") == newest[:, 1].tolist()
    assert column("session_near_4") == [0.0] * 8
    assert column("session_near_max") == newest.max(axis=1).tolist()
    assert column("session_near_mean") == newest.mean(axis=1).tolist()
    content = world.vectors().content
    assert column("content_near_3") == (content @ content[3]).tolist()
    assert column("content_near_min") == (content @ content[[1, 0, 3]].T).min(axis=1).tolist()
    assert column("session_cosine") == (units @ [0.6, 0.8]).tolist()


def test_covisits_after_each_of_the_newest_items() -> None:
    share = 1.0  # everybody chose 1 after 0
    assert column("covisit_2") == [np.log((share if row == 1 else 0) + 1e-4) for row in range(8)]
    assert column("covisit_4") == [np.log(1e-4)] * 8
    assert column("covisit_breadth") == [0, 0.2, 0.2, 0.2, 0, 0, 0, 0]
    assert column("covisit_rank")[1] == 1.0


def test_what_is_chosen_under_the_same_circumstances() -> None:
    crowd = world.crowd()
    before = crowd.contexts.shares((1, 0, 3), ROWS)[0]  # all were chosen under circumstances unknown
    assert column("context", crowd=crowd) == [np.log(1e-4)] * 8
    for row, context in ((1, (1, 0, 3)), (2, (1, 0, 4)), (2, (1, 0, 3))):
        crowd.observe(9, 0, row, crowd.trends.latest_ms, context)
    asked = {"crowd": crowd, "context": (1, 0, 3)}
    by_first, by_third = np.array([0, 1 / 3, 2 / 3] + [0] * 5), np.array([0, 1 / 2, 1 / 2] + [0] * 5)
    assert column("context_1", **asked) == np.log(by_first + 1e-4).tolist()
    assert column("context_2", **asked) == [np.log(1e-4)] * 8
    assert column("context_3", **asked) == np.log(by_third + 1e-4).tolist()
    together = np.log((by_first + by_third) / 2 + 1e-4)
    assert column("context", **asked) == together.tolist()
    every = crowd.contexts.shares((1, 0, 3), ROWS)[0]
    assert (every != before).any()
    assert column("context_lift", **asked) == (together - np.log(every + 1e-4)).tolist()


def test_what_the_newest_sessions_with_the_latest_items_held() -> None:
    # Both sessions have item 1, the newest, and item 0; one of them has item 2. Item 3 was chosen by the user.
    of_item_2 = 1.0 * 1 / 2 + 0.6 * 1 / 2
    assert column("knn") == [np.log((of_item_2 if row == 2 else 0) + 1e-4) for row in range(8)]
    assert column("knn_rank") == [0, 0, 1, 0, 0, 0, 0, 0]


def test_the_crowd_is_read_as_trends_ranks_and_distances_to_the_top() -> None:
    fast, weekly = 0.5, 0.5 ** (1 / 168)
    counts = [(1 + fast, 1 + weekly), (1 + fast, 1 + weekly), (fast, weekly), (1, 1)]
    assert column("behind_top_fast") == [np.log1p(c[0]) - np.log1p(1.5) for c in counts] + [-np.log1p(1.5)] * 4
    assert column("count_weekly_root") == [np.sqrt(c[1]) for c in counts] + [0.0] * 4
    assert column("trending_rank") == [1, 1 / 2, 1 / 4, 1 / 3, 0, 0, 0, 0]
    assert column("trending_place")[3] == 1 - 2 / 2_000
    assert column("never_chosen") == [0, 0, 0, 0, 1, 1, 1, 1]


def test_freshness_halves_and_is_zero_where_no_age_is_known() -> None:
    assert column("fresh_hour") == [1 / 8, 1 / 2, 1 / 2, 1, 0, 0, 0, 0]
    assert column("fresh_day") == [2 ** (-3 / 24), 2 ** (-1 / 24), 2 ** (-1 / 24), 1, 0, 0, 0, 0]
    assert column("age_published") == [np.log(4)] + [0.0] * 7
    assert column("age_known") == [1, 1, 1, 1, 0, 0, 0, 0]


def test_genres_are_compared_over_several_windows() -> None:
    assert column("genre_last5") == [2 / 3, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 0, 0, 2 / 3]
    weights = np.array([0.81, 0.9, 1.0]) / 2.71
    drama, comedy = weights[1] + weights[2], weights[0]
    assert column("genre_faded") == [drama, drama, drama, comedy, comedy, 0, 0, drama]
    assert column("genre_any_20") == [2 / 3, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 0, 0, 2 / 3]
    assert column("genre_run") == [np.log(3) if row in (0, 1, 2, 7) else 0 for row in range(8)]
    assert column("genre_new") == [0, 0, 0, 0, 0, 1, 0, 0]
    assert column("genre_overlap_mean") == [2 / 3, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 0, 0, 2 / 3]


def test_prices_are_compared_with_what_the_user_chose_and_ranked_in_their_genre() -> None:
    catalog = priced(9.0, 99.0, None, 9.0, 99.0, 5.0, 5.0, 999.0)
    mean = (np.log(10) + np.log(100) + np.log(10)) / 3
    logs = [np.log(10), np.log(100), None, np.log(10), np.log(100), np.log(6), np.log(6), np.log(1000)]
    assert column("price_distance", catalog=catalog) == [0 if each is None else abs(each - mean) for each in logs]
    assert column("price_rank", catalog=catalog) == [-1 / 3, 0, 0, -1 / 4, 1 / 4, 0, 0, 1 / 3]
    assert column("price_last", catalog=catalog)[4] == 0.0
    assert number("price_mean", catalog=catalog) == mean


def test_a_user_who_comes_back_to_an_item_shows() -> None:
    view = UserView(recent_rows=np.array([2, 5, 2], np.int32), seen_rows=np.array([2, 5, 6], np.int32))
    assert column("repeat_times", view) == [0, 0, np.log(3), 0, 0, np.log(2), 0, 0]
    assert column("repeat_latest", view) == [0, 0, 1, 0, 0, 1 / 2, 0, 0]
    assert column("repeat_seen", view) == [0, 0, 1, 0, 0, 1, 1, 0]
    assert number("distinct", view) == 2 / 3


def test_what_retrieval_says_is_its_score_and_how_many_sources_there_were() -> None:
    sources = np.zeros(8, np.uint16)
    sources[2] = sum(SOURCE_BIT[source] for source in SOURCES)
    sources[3] = SOURCE_BIT[SOURCES[-1]]
    assert column("n_sources", sources=sources) == [0, 0, len(SOURCES), 1, 0, 0, 0, 0]
    assert column(f"from_{SOURCES[-1]}", sources=sources) == [0, 0, 1, 1, 0, 0, 0, 0]
    assert column("from_popular", sources=sources) == [0, 0, 1, 0, 0, 0, 0, 0]
    fused = np.linspace(0, 1 / 61, 8).astype(np.float32)
    assert column("fused", fused=fused)[7] == 1.0
    assert column("fused") == [0.0] * 8


def test_time_is_that_of_the_request() -> None:
    assert number("idle") == np.log(1.5)
    assert number("awake") == 0.5
    turn = 2 * np.pi * (world.NOW_MS % DAY_MS) / DAY_MS
    assert (number("hour_sin"), number("hour_cos")) == (np.sin(turn), np.cos(turn))


def test_breadth_and_coherence_of_a_user() -> None:
    assert number("genre_breadth") == np.log(3)
    assert number("genre_entropy") == -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert number("coherence") == (0 + 1 / np.sqrt(2)) / 2, "of item 1 with 0 and 3"
    assert number("mainstream_now") == (np.log1p(1.5) + np.log1p(1.5) + np.log1p(1)) / 3


def test_a_column_has_the_same_bits_whatever_others_were_chosen_and_in_whatever_order() -> None:
    together, _ = inputs(KNOWN, world.catalog(), EVERYTHING, sources=np.arange(8, dtype=np.uint16) * 33)
    names = np.random.default_rng(0).permutation(ALL_CROSS)
    for some in np.array_split(names, 40):
        alone, _ = inputs(KNOWN, world.catalog(), Chosen(cross=tuple(some)), sources=np.arange(8, dtype=np.uint16) * 33)
        places = [ALL_CROSS.index(name) for name in some]
        assert (alone.view(np.uint32) == together[:, places].view(np.uint32)).all()


class Untouchable:
    """A table that nobody may read."""

    shape = (world.N_ITEMS, 2)

    def take(self, *args: object, **kwargs: object) -> None:
        raise AssertionError("read, though no column needs it")

    __getitem__ = take


def test_what_no_chosen_column_needs_is_not_read() -> None:
    vectors = ItemVectors(session=world.vectors().session, user=world.vectors().user)
    chosen = Chosen(cross=("session_score", "count_daily", "genre_any_20"))
    expected, _ = inputs(KNOWN, world.catalog(), chosen, vectors=vectors)
    assembler, crowd = Assembler(world.catalog(), vectors, chosen), world.crowd()
    known = signals_of(KNOWN, world.catalog(), vectors, crowd)
    known.content_profile = np.ones(2, np.float32)
    for space in ("user", "content"):
        object.__setattr__(vectors, space, Untouchable())
    found = assembler.cross(KNOWN, known, ROWS, np.zeros(8, np.uint16), crowd)
    assert (found == expected).all()
    with pytest.raises(AssertionError):
        column("content_score", vectors=vectors)


def test_a_chosen_name_without_a_formula_is_known_beforehand() -> None:
    assert EVERYTHING.unknown() == []
    assert Chosen(cross=("covisit", "phase_of_moon"), user=("interactions", "x")).unknown() == ["phase_of_moon", "x"]


def test_chosen_numbers_stand_between_vectors_and_genres() -> None:
    spec = Assembler(world.catalog(), world.vectors(), Chosen(user=("interactions", "seen"))).spec
    assert spec.user[4:] == ("interactions", "seen", "genre:Drama", "genre:Comedy", "genre:War")


def test_the_chosen_facts_of_items_follow_those_that_every_ranker_has_and_what_changes() -> None:
    catalog, crowd = priced(9.0, 99.0, None, 9.0, 99.0, 5.0, 5.0, 999.0), world.crowd()
    assembler = Assembler(catalog, world.vectors(), EVERYTHING)
    at = assembler.spec.item.index("price_in_genre")
    before = assembler.items(crowd.trends)
    np.testing.assert_allclose(before[:, at], [-1 / 3, 0, 0, -1 / 4, 1 / 4, 0, 0, 1 / 3], rtol=1e-6)
    np.testing.assert_array_equal(assembler.items(crowd.trends, ROWS[2:5]), before[2:5])
    catalog.price[2] = 1e6
    assembler.items_changed(ROWS[2:3])
    after = assembler.items(crowd.trends)
    assert after[2, at] == 0.5
    assert after[2, assembler.spec.item.index("price_known")] == 1
    assert Assembler(catalog, world.vectors()).items(crowd.trends).shape[1] == 2 + 3 + 4 + 3


odd_prices = st.one_of(st.none(), st.sampled_from([0.0, -5.0, 1e-30, 1e30, 3e38]), st.floats(0, 1e6))
odd_dates = st.one_of(st.none(), st.sampled_from([1, world.NOW_MS + 10 * DAY_MS, 250_000_000_000_000]))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(odd_prices, odd_dates, st.sampled_from([(), ("a",), ("a", "b")])), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), max_size=60),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, world.NOW_MS, world.NOW_MS + DAY_MS]),
)
def test_every_input_is_a_number_that_float16_holds(listed, recent, with_vectors, with_crowd, last_ms) -> None:
    n = len(listed)
    catalog = Catalog.build(
        Item(item_id=f"{row}", genres=genres, price=price, published_ms=published_ms)
        for row, (price, published_ms, genres) in enumerate(listed)
    )
    rng = np.random.default_rng(n)
    tables = [rng.normal(size=(n, dim)).astype(np.float32) for dim in (3, 2, 2)]
    for table in tables:
        table[0] = 0.0
    vectors, crowd = ItemVectors(*tables) if with_vectors else ItemVectors(), Crowd(n, Settings())
    rows = np.array([row % n for row in recent][-50:], np.int32)
    for at, row in enumerate(rows.tolist() if with_crowd else []):
        crowd.observe(1, 0, row, world.NOW_MS + at)
    view = UserView(len(rows), last_ms, rows, np.unique(rows))
    if with_vectors:
        view.user_vector, view.session_vector = np.zeros(2, np.float32), rng.normal(size=2).astype(np.float32)
    cross, user = inputs(view, catalog, EVERYTHING, vectors=vectors, crowd=crowd, fused=np.zeros(n, np.float32))
    assert np.isfinite(cross.astype(np.float16)).all(), [
        ALL_CROSS[at] for at in np.flatnonzero(~np.isfinite(cross.astype(np.float16)).all(axis=0))
    ]
    assert np.isfinite(user).all()
    items = Assembler(catalog, vectors, EVERYTHING).items(crowd.trends)
    assert np.isfinite(items).all()
