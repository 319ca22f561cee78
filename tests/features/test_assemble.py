"""The ranker's inputs, worked out by hand and held against each other."""

from dataclasses import replace

import numpy as np
import pytest

from tests.features import world
from upnext.catalog.catalog import Catalog
from upnext.domain.event import Item
from upnext.features.assemble import Assembler
from upnext.features.item_vectors import ItemVectors, Unlearnt
from upnext.features.neighbours import Neighbours
from upnext.features.signals import Signals, signals_of
from upnext.features.spec import CROSS, EVERYTHING, ITEM, SOURCE_BIT, SOURCES, Chosen
from upnext.features.user_view import UserView
from upnext.settings import Settings
from upnext.state.crowd import Crowd

NOBODY = UserView()
SAME_HERE = {  # of items without price and date, all chosen by now, for a user who has not come for long
    "price_distance", "price_over", "price_under", "price_spreads", "price_last", "price_rank", "price_rank_distance",
    "age_published", "age_known", "era_distance", "era_last", "never_chosen", "n_genres", "genre_new", "repeat_seen",
    "last_x_awake", "covisit_x_awake",
}  # fmt: skip
KNOWN = UserView(
    n_interactions=2,
    recent_rows=np.array([0, 1], np.int32),
    user_vector=np.array([2, 1], np.float32),
    session_vector=np.array([1, 10], np.float32),
)


def signals(view: UserView, crowd: Crowd, vectors: ItemVectors) -> Signals:
    return signals_of(view, world.catalog(), vectors, crowd)


def columns(
    view: UserView, *, vectors: ItemVectors | None = None, crowd: Crowd | None = None
) -> dict[str, list[float]]:
    """Columns of all items by name; every source is said to have returned none of them."""
    vectors, crowd = vectors or world.vectors(), crowd or world.crowd()
    rows = np.arange(world.N_ITEMS, dtype=np.int32)
    assembler = Assembler(world.catalog(), vectors)
    features = assembler.cross(view, signals(view, crowd, vectors), rows, np.zeros(len(rows), np.uint8), crowd)
    assert (features.dtype, features.shape) == (np.float32, (world.N_ITEMS, len(CROSS)))
    return {name: pytest.approx(features[:, place].tolist(), rel=1e-5, abs=1e-6) for place, name in enumerate(CROSS)}


def test_vector_scores_are_dot_products_and_cosines() -> None:
    found = columns(KNOWN)
    assert found["session_score"] == [1.5, 20.25, 42, 11, 2, 11, 21, 0]
    assert found["user_score"] == [2, 1, 3, 5, 0, 5, 4, 0]
    root = np.sqrt
    assert found["last_item_score"] == [0, 1, 0.8, 1 / root(2), 0, 1, 2 / root(5), 0], "cosine to item 1, without bias"
    profile = np.array([0.6, 1.0]) / np.hypot(0.6, 1.0)
    assert found["content_score"] == (world.vectors().content @ profile).tolist()


def test_covisits_are_log_shares_told_from_none() -> None:
    rest = 0.5 ** (1 / 168)
    floor = 1e-4
    last = {2: rest / (1 + rest), 3: 1 / (1 + rest)}
    found = columns(KNOWN)
    assert found["covisit_last"] == [np.log(last.get(row, 0) + floor) for row in range(8)]
    assert found["covisit"] == [np.log({**last, 1: 0.6}.get(row, 0) + floor) for row in range(8)]


def test_counts_of_the_crowd_are_logs_of_decayed_counts() -> None:
    found = columns(KNOWN)
    fast, weekly = 0.5, 0.5 ** (1 / 168)  # what an hour leaves
    seen = [(1, 1), (1, 1), (1, 0), (0, 1), (0, 0), (0, 0), (0, 0), (0, 0)]  # an hour ago, now
    assert found["count_fast"] == [np.log1p(before * fast + now) for before, now in seen]
    assert found["count_weekly"] == [np.log1p(before * weekly + now) for before, now in seen]
    assert found["trend"] == [np.log1p(b * fast + n) - np.log1p(b * weekly + n) for b, n in seen]


def test_age_runs_from_publication_or_first_sight_and_is_zero_where_neither_is_known() -> None:
    assert columns(KNOWN)["age"] == [np.log(4), np.log(2), np.log(2), 0, 0, 0, 0, 0]


def test_genre_match_is_the_share_of_the_items_genre_and_zero_for_items_of_none() -> None:
    view = UserView(recent_rows=np.array([0, 3, 6, 1], np.int32))
    assert columns(view)["genre_match"] == [0.5, 0.5, 0.5, 0.25, 0.25, 0, 0, 0.5]


def test_flags_tell_which_sources_returned_a_candidate() -> None:
    assembler, crowd = Assembler(world.catalog(), world.vectors()), world.crowd()
    bits = [SOURCE_BIT["user_vector"] | SOURCE_BIT["popular"], 0, SOURCE_BIT["covisit"], 255]
    features = assembler.cross(
        NOBODY, signals(NOBODY, crowd, world.vectors()), np.arange(4, dtype=np.int32), np.array(bits, np.uint8), crowd
    )
    flags = features[:, [CROSS.index(f"from_{source}") for source in SOURCES[:5]]]
    assert flags.tolist() == [[1, 0, 0, 0, 1], [0] * 5, [0, 0, 1, 0, 0], [1] * 5]


@pytest.mark.parametrize("vectors", [world.vectors(), ItemVectors()])
def test_with_nothing_known_every_input_is_a_number(vectors: ItemVectors) -> None:
    crowd = Crowd(world.N_ITEMS, Settings())
    found = columns(NOBODY, vectors=vectors, crowd=crowd)
    nothing = {name: [np.log(1e-4)] * 8 if name.startswith("covisit") else [0.0] * 8 for name in CROSS}
    nothing["age"] = [0.0] * 8  # before the first event there is no "now"
    assert found == nothing
    assembler = Assembler(world.catalog(), vectors)
    assert np.isfinite(assembler.items(crowd.trends)).all()
    assert not assembler.user(NOBODY, signals(NOBODY, crowd, vectors)).any()


@pytest.mark.parametrize("chosen", [Chosen(), EVERYTHING])
def test_a_row_does_not_depend_on_the_other_candidates_nor_on_its_place(chosen: Chosen) -> None:
    generator = np.random.default_rng(7)
    n_items = 400
    catalog = Catalog.build(Item(item_id=str(row), genres=(f"g{row % 7}",)) for row in range(n_items))
    tables = [generator.standard_normal((n_items, dim)).astype(np.float32) for dim in (65, 64, 48)]
    vectors, crowd = ItemVectors(*tables), Crowd(n_items, Settings())
    for step, row in enumerate(generator.integers(0, n_items, 2_000).tolist()):
        crowd.observe(step % 9, 0, row, world.NOW_MS + step * 40_000, (step % 2 + 1, step % 3 + 1, step % 5 + 1))
    view = UserView(9, 1, np.arange(9, dtype=np.int32), user_vector=tables[1][0], session_vector=tables[0][1, :-1])
    listed = generator.permuted(np.tile(np.arange(n_items, dtype=np.int32), (n_items, 1)), axis=1)[:, :60]
    neighbours = Neighbours(listed, generator.random(listed.shape, np.float32), n_items)
    assembler, known = (
        Assembler(catalog, vectors, chosen),
        signals_of(view, catalog, vectors, crowd, (1, 2, 3), neighbours),
    )
    rows, sources = generator.permutation(n_items).astype(np.int32), generator.integers(0, 1 << 16, n_items, np.uint16)
    fused = generator.random(n_items, np.float32)
    whole = assembler.cross(view, known, rows, sources, crowd, fused)
    same = {name for name, spread in zip(chosen.cross, np.ptp(whole, axis=0), strict=True) if not spread}
    assert same <= (SAME_HERE if chosen == EVERYTHING else set()), "every other column tells items apart"
    for _ in range(50):
        some = generator.permutation(n_items)[: generator.integers(1, n_items)]
        part = assembler.cross(view, known, rows[some], sources[some], crowd, fused[some])
        assert (part == whole[some]).all()


def test_no_candidates_give_no_rows() -> None:
    assembler, crowd = Assembler(world.catalog(), world.vectors()), world.crowd()
    none = assembler.cross(
        KNOWN, signals(KNOWN, crowd, world.vectors()), np.empty(0, np.int32), np.empty(0, np.uint8), crowd
    )
    assert none.shape == (0, len(CROSS))


def test_the_user_side_holds_vectors_history_and_genres_in_the_order_of_the_spec() -> None:
    assembler, crowd = Assembler(world.catalog(), world.vectors()), world.crowd()
    features = assembler.user(KNOWN, signals(KNOWN, crowd, world.vectors()))
    assert features.dtype == np.float32
    named = dict(zip(assembler.spec.user, features.tolist(), strict=True))
    assert named == {
        "user_vector:0": 2, "user_vector:1": 1, "session_vector:0": 1, "session_vector:1": 10,
        "interactions": pytest.approx(np.log(3)), "genre:Drama": 1, "genre:Comedy": 0, "genre:War": 0,
    }  # fmt: skip


def test_a_vector_of_other_dimensions_than_the_releases_is_refused() -> None:
    assembler, crowd = Assembler(world.catalog(), world.vectors()), world.crowd()
    view = UserView(user_vector=np.ones(3, np.float32))
    with pytest.raises(ValueError, match="broadcast"):
        assembler.user(view, signals(view, crowd, world.vectors()))


def test_the_item_side_holds_vectors_counts_and_facts_in_the_order_of_the_spec() -> None:
    assembler, crowd = Assembler(world.catalog(), world.vectors()), world.crowd()
    features = assembler.items(crowd.trends)
    assert (features.dtype, features.shape) == (np.float32, (world.N_ITEMS, len(assembler.spec.item)))
    named = {name: features[:, place] for place, name in enumerate(assembler.spec.item)}
    np.testing.assert_array_equal(features[:, :2], world.vectors().user)
    np.testing.assert_array_equal(features[:, 2:5], world.vectors().session)
    np.testing.assert_allclose(named["count_weekly"], columns(KNOWN)["count_weekly"].expected, rtol=1e-5)
    decades = (world.NOW_MS - 3 * 3_600_000 - 946_684_800_000) / (3_652.5 * 86_400_000)
    np.testing.assert_allclose(named["published"], [decades] + [0] * 7, rtol=1e-6)
    np.testing.assert_allclose(named["price"], [0, 1] + [0] * 6, rtol=1e-6)
    assert named["learnt"].tolist() == [1] * 7 + [0]
    assert named["genre:Drama"].tolist() == [1, 1, 1, 0, 0, 0, 0, 1]
    assert named["genre:War"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]


def test_a_release_without_vectors_has_inputs_all_the_same() -> None:
    assembler = Assembler(world.catalog(), ItemVectors())
    assert assembler.spec.user == ("interactions", "genre:Drama", "genre:Comedy", "genre:War")
    assert assembler.items(world.crowd().trends).shape == (8, len(assembler.spec.item)) == (8, 8)
    assert assembler.spec.digest() != Assembler(world.catalog(), world.vectors()).spec.digest()


def test_the_item_side_of_some_rows_is_that_of_all_and_follows_what_changes() -> None:
    catalog, tables, crowd = world.catalog(), world.vectors(), world.crowd()
    assembler, rows = Assembler(catalog, tables), np.array([6, 1], np.int32)
    np.testing.assert_array_equal(assembler.items(crowd.trends, rows), assembler.items(crowd.trends)[rows])
    catalog.published_ms[6], catalog.price[6] = world.NOW_MS - 7 * 3_600_000, 9.0
    tables.session[6] = 0.0
    assembler.items_changed(rows)
    anew = Assembler(catalog, tables)
    np.testing.assert_array_equal(assembler.items(crowd.trends), anew.items(crowd.trends))
    known, sources = signals(KNOWN, crowd, tables), np.zeros(2, np.uint8)
    cross = assembler.cross(KNOWN, known, rows, sources, crowd)
    np.testing.assert_array_equal(cross, anew.cross(KNOWN, known, rows, sources, crowd))
    assert cross[0, CROSS.index("age")] == pytest.approx(np.log(8))


def test_the_item_side_of_what_the_ranker_has_not_learnt_is_that_of_the_never_met() -> None:
    chosen = Chosen(item=(*ITEM, "session_length_log", "user_length_log"))
    known = world.vectors()
    least = np.array([0, 0, -1], np.float32)
    unlearnt = Unlearnt(np.array([1, 3], np.int32), np.array([[3, 4], [0, 0]], np.float32), least)
    hidden = replace(known, unlearnt=unlearnt)
    trends = world.crowd().trends
    names = Assembler(world.catalog(), known, chosen).spec.item
    before = Assembler(world.catalog(), known, chosen).items(trends)
    for rows in (None, np.array([3, 6, 1], np.int32), np.array([0], np.int32)):
        after = Assembler(world.catalog(), hidden, chosen).items(trends, rows)
        for place, row in enumerate(range(world.N_ITEMS) if rows is None else rows.tolist()):
            found = dict(zip(names, after[place].tolist(), strict=True))
            if row not in (1, 3):
                assert after[place].tolist() == before[row].tolist()
                continue
            assert [found[f"user_space:{at}"] for at in (0, 1)] == ([3, 4] if row == 1 else [0, 0])
            assert [found[name] for name in ("session_space:0", "session_space:1", "session_bias")] == [0, 0, -1]
            assert (found["learnt"], found["count_weekly"], found["session_length_log"]) == (0, 0, 0)
            assert found["user_length_log"] == pytest.approx(np.log1p(5) if row == 1 else 0)
            assert found["price"] == before[row, names.index("price")]


def test_an_item_without_a_vector_had_not_been_chosen_when_the_ranker_learnt() -> None:
    crowd = world.crowd()
    crowd.observe(3, 0, 7, world.NOW_MS)  # the one without vectors
    at = Assembler(world.catalog(), world.vectors()).spec.item.index("count_weekly")
    counted = Assembler(world.catalog(), world.vectors()).items(crowd.trends)[:, at]
    assert (counted[7], counted[3] > 0) == (0, True)
    without = Assembler(world.catalog(), ItemVectors())  # where nothing has vectors, all counts count
    assert without.items(crowd.trends)[7, without.spec.item.index("count_weekly")] > 0
