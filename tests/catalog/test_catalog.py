"""The items of a release by row."""

from typing import Any

import msgspec
import numpy as np
import pytest

from upnext.catalog.catalog import UNKNOWN_MS, Catalog
from upnext.domain.event import Item
from upnext.domain.identity import key_of, keys_of
from upnext.errors import DataError

ITEMS = [
    Item(item_id="a", title="Über", genres=("Drama", "War"), published_ms=-5, price=2.5, regions=("DE", "FR")),
    Item(item_id="b", genres=("Comedy",), available=False),
    Item(item_id="c", title="映画", genres=("Drama",), regions=("FR",), promoted=True, price=0.0),
    Item(item_id="d"),
]


@pytest.fixture
def catalog() -> Catalog:
    return Catalog.build(iter(ITEMS))


def marked(mask: np.ndarray) -> list[int]:
    assert mask.dtype == np.bool_
    return np.flatnonzero(mask).tolist()


def test_rows_follow_the_order_of_the_items(catalog: Catalog) -> None:
    assert catalog.n_items == len(catalog.ids) == 4
    assert catalog.keys.tolist() == [key_of(item) for item in "abcd"]
    every = np.arange(4, dtype=np.int32)
    assert catalog.ids.take(every) == ["a", "b", "c", "d"]
    assert catalog.titles.take(every) == ["Über", "", "映画", ""]
    assert catalog.published_ms.tolist() == [-5, UNKNOWN_MS, UNKNOWN_MS, UNKNOWN_MS]
    np.testing.assert_array_equal(catalog.price, np.array([2.5, np.nan, 0.0, np.nan], np.float32))
    assert marked(catalog.promoted) == [2]
    assert marked(catalog.available) == [0, 2, 3]
    assert marked(catalog.unrestricted) == [1, 3]


def test_genres_are_coded_most_frequent_first_then_by_name(catalog: Catalog) -> None:
    assert catalog.genres == ["Drama", "Comedy", "War"]
    assert catalog.regions == ["FR", "DE"]
    assert catalog.genre.tolist() == [0, 1, 0, -1]
    assert catalog.genre_bits.tolist() == [0b101, 0b010, 0b001, 0]


def test_keys_are_found_and_unknown_ones_have_no_row(catalog: Catalog) -> None:
    keys = keys_of(["d", "nobody", "a", "a", ""])
    rows = catalog.rows_of(keys)
    assert (rows.dtype, rows.tolist()) == (np.int32, [3, -1, 0, 0, -1])
    assert [catalog.row_of_key(int(key)) for key in keys] == rows.tolist()
    assert [catalog.row_of(item_id) for item_id in ("c", "nobody")] == [2, -1]
    ends = np.array([0, 2**64 - 1], np.uint64)
    assert catalog.rows_of(ends).tolist() == [catalog.row_of_key(0), catalog.row_of_key(2**64 - 1)] == [-1, -1]
    assert catalog.rows_of(np.empty(0, np.uint64)).dtype == np.int32


def test_every_item_of_a_large_catalogue_is_found() -> None:
    catalog = Catalog.build(Item(item_id=f"item-{number}") for number in range(3_000))
    assert catalog.rows_of(catalog.keys[::-1]).tolist() == list(range(3_000))[::-1]
    assert catalog.row_of("item-2999") == 2_999


def test_a_catalogue_without_items_answers_everything_with_nothing() -> None:
    catalog = Catalog.build([])
    assert (catalog.n_items, catalog.genres, len(catalog.ids)) == (0, [], 0)
    assert catalog.rows_of(keys_of(["a"])).tolist() == [-1]
    assert catalog.row_of("a") == -1
    assert len(catalog.allowed(genres=["Drama"], region="DE")) == 0


def test_an_item_given_twice_is_named() -> None:
    with pytest.raises(DataError, match="item 'c' is in the catalogue twice"):
        Catalog.build([*ITEMS, Item(item_id="c", title="another")])


def test_more_genres_than_can_be_coded_are_refused() -> None:
    with pytest.raises(DataError, match="33000 genres"):
        Catalog.build(Item(item_id=str(number), genres=(f"g{number}",)) for number in range(33_000))


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({}, [0, 2, 3]),
        ({"genres": ["Drama"]}, [0, 2]),
        ({"genres": ["War", "Comedy", "War"]}, [0]),
        ({"genres": ["Western"]}, []),
        ({"genres": ["Western", "War"]}, [0]),
        ({"region": "FR"}, [0, 2, 3]),
        ({"region": "DE"}, [0, 3]),
        ({"region": "US"}, [3]),
        ({"genres": ["Drama"], "region": "DE"}, [0]),
        ({"genres": ["Drama"], "region": "US"}, []),
    ],
)
def test_only_what_is_available_and_asked_for_is_allowed(
    catalog: Catalog, asked: dict[str, Any], rows: list[int]
) -> None:
    assert marked(catalog.allowed(**asked)) == rows
    assert marked(catalog.available) == [0, 2, 3], "the catalogue itself is left alone"


def test_with_more_regions_and_genres_than_bits_each_is_still_told_apart() -> None:
    names = [f"{number:03}" for number in range(200)]
    everywhere = Item(item_id="everywhere", genres=tuple(names), regions=tuple(names))
    catalog = Catalog.build([everywhere, *(Item(item_id=name, genres=(name,), regions=(name,)) for name in names)])
    for number in (0, 62, 63, 64, 199):
        assert marked(catalog.allowed(region=names[number])) == [0, 1 + number]
        assert marked(catalog.allowed(genres=[names[number]])) == [0, 1 + number]
    assert marked(catalog.allowed(region="elsewhere")) == []
    assert catalog.genre_bits[[0, 1, 63, 64, 200]].tolist() == [2**64 - 1, 1, 1 << 62, 1 << 63, 1 << 63]


def test_a_genre_listed_twice_counts_once() -> None:
    catalog = Catalog.build(
        [Item(item_id="a", genres=("x", "x", "x")), *(Item(item_id=i, genres=("y",)) for i in "bc")]
    )
    assert catalog.genres == ["y", "x"]
    assert catalog.genre_bits.tolist() == [2, 1, 1]


def test_a_saved_catalogue_opens_as_it_was(catalog: Catalog) -> None:
    parts: dict[str, Any] = {}
    catalog.save(parts.__setitem__, parts.__setitem__)
    assert set(parts) == {f"catalog.{name}" for name in (*Catalog.ARRAYS, "names")}
    for part in parts.values():
        if isinstance(part, np.ndarray):
            part.flags.writeable = False
    opened = Catalog.open(parts.__getitem__, parts.__getitem__)
    assert opened.rows_of(catalog.keys).tolist() == [0, 1, 2, 3]
    assert opened.ids.take(np.arange(4, dtype=np.int32)) == ["a", "b", "c", "d"]
    assert (opened.genres, opened.regions) == (catalog.genres, catalog.regions)
    assert marked(opened.allowed(genres=["Drama"], region="FR")) == [0, 2]
    assert np.shares_memory(opened.keys, catalog.keys), "mapped, not copied"


SPARE_ROWS = 3


def with_spare(items: list[Item], spare: int = SPARE_ROWS) -> Catalog:
    parts: dict[str, Any] = {}
    Catalog.build(items).save(parts.__setitem__, parts.__setitem__, spare)
    return Catalog.open(parts.__getitem__, parts.__getitem__, lambda name: parts[name].copy())


def facts(catalog: Catalog, row: int) -> list[Any]:
    """Everything that a catalogue says of a row, genres and regions by name."""
    genres = {name for name in catalog.genres if catalog_mask(catalog, row, genre=name)}
    regions = {name for name in [*catalog.regions, "none of them"] if catalog_mask(catalog, row, region=name)}
    arrays = (catalog.unrestricted, catalog.published_ms, catalog.price, catalog.available, catalog.promoted)
    return [
        int(catalog.keys[row]), catalog.ids[row], catalog.titles[row],
        catalog.genres[catalog.genre[row]] if catalog.genre[row] >= 0 else None,
        genres, "every region" if "none of them" in regions else regions, *(each[row].item() for each in arrays),
    ]  # fmt: skip


def catalog_mask(catalog: Catalog, row: int, *, genre: str | None = None, region: str | None = None) -> bool:
    available = catalog.available[row]
    catalog.available[row] = True
    found = bool(catalog.allowed(genres=[genre] if genre else [], region=region)[row])
    catalog.available[row] = available
    return found


def test_spare_rows_hold_nothing_and_are_no_items() -> None:
    catalog = with_spare(ITEMS)
    assert (catalog.n_released, catalog.n_items, catalog.n_fresh) == (4, 7, 0)
    assert marked(catalog.allowed()) == marked(catalog.allowed(region="US") | catalog.available) == [0, 2, 3]
    assert catalog.genre.tolist()[4:] == [-1] * 3
    assert catalog.published_ms.tolist()[4:] == [UNKNOWN_MS] * 3
    assert np.isnan(catalog.price[4:]).all()
    assert not (catalog.promoted[4:] | catalog.unrestricted[4:] | catalog.genre_bits[4:].astype(bool)).any()
    assert [catalog.row_of_key(0), *catalog.rows_of(np.zeros(1, np.uint64))] == [-1, -1]


def test_blocked_items_are_not_available() -> None:
    catalog = Catalog.build([Item(item_id="a", blocked=True), Item(item_id="b")])
    assert marked(catalog.available) == [1]


NEW = Item(
    item_id="n", title="Ünew", genres=("War", "Noir"), published_ms=7, price=1.5, regions=("US", "DE"), promoted=True
)


def test_a_new_item_goes_into_a_spare_row_and_says_there_what_a_released_one_says() -> None:
    catalog, built = with_spare(ITEMS), Catalog.build([*ITEMS, NEW])
    assert catalog.put(NEW) == 4
    assert catalog.n_fresh == 1
    assert catalog.rows_of(keys_of(["x", "n", "a"])).tolist() == [-1, 4, 0]
    for row in range(5):
        np.testing.assert_equal(facts(catalog, row), facts(built, row))
    for asked in ({"genres": ["Noir"]}, {"genres": ["War"], "region": "US"}, {"region": "DE"}, {"region": "FR"}):
        assert marked(catalog.allowed(**asked)) == marked(built.allowed(**asked))
    assert catalog.ids.take(np.array([4, 0, 4], np.int32)) == ["n", "a", "n"]
    assert [catalog.put(Item(item_id=item_id)) for item_id in "xyz"] == [5, 6, -1]
    keys = keys_of(["z", "y", "d", "n", "nobody", "x"])
    assert catalog.rows_of(keys).tolist() == [-1, 6, 3, 4, -1, 5]
    assert [catalog.row_of_key(int(key)) for key in keys] == [-1, 6, 3, 4, -1, 5]


@pytest.mark.parametrize("item_id", ["a", "n"])
def test_an_item_put_again_keeps_its_row_and_changes_in_all_it_says(item_id: str) -> None:
    catalog = with_spare([*ITEMS, NEW][:4])
    row = {"a": 0, "n": 4}[item_id]
    versions = [
        msgspec.structs.replace(NEW, item_id=item_id),
        Item(item_id=item_id, genres=("Drama",), regions=("FR",), blocked=True),
        Item(item_id=item_id, title="Über", genres=("Drama", "War"), published_ms=-5, price=2.5, regions=("FR", "DE")),
        Item(item_id=item_id, available=False),
        msgspec.structs.replace(ITEMS[0], item_id=item_id),
    ]
    for item in versions:
        assert catalog.put(item) == row
        np.testing.assert_equal(facts(catalog, row), facts(Catalog.build([item]), 0))
    assert catalog.n_fresh == (item_id == "n")
    assert facts(catalog, 2) == facts(Catalog.build(ITEMS), 2), "no other item is touched"


def test_a_withdrawn_item_is_not_available_until_it_is_put_again() -> None:
    catalog = with_spare(ITEMS)
    catalog.put(NEW)
    assert [catalog.withdraw(item_id) for item_id in ("a", "n", "nobody")] == [0, 4, -1]
    assert marked(catalog.allowed()) == [2, 3]
    assert [catalog.put(ITEMS[0]), catalog.put(NEW)] == [0, 4]
    assert marked(catalog.allowed()) == [0, 2, 3, 4]
    assert catalog.n_fresh == 1


def test_labels_that_stay_as_they_were_take_no_memory() -> None:
    catalog = with_spare(ITEMS)
    for item in ITEMS:
        catalog.put(msgspec.structs.replace(item, price=3.0))
    assert [catalog._by_genre._put, catalog._by_region._put, catalog.titles._put] == [{}, {}, {}]
    catalog.put(msgspec.structs.replace(ITEMS[0], genres=("Drama",)))
    catalog.put(msgspec.structs.replace(ITEMS[2], regions=("FR", "DE")))
    assert (list(catalog._by_genre._put), list(catalog._by_region._put)) == ([0], [2])


def test_a_catalogue_without_spare_rows_has_no_place_for_new_items() -> None:
    catalog = Catalog.build(ITEMS)
    assert catalog.put(NEW) == -1
    assert catalog.row_of("n") == -1
    assert catalog.put(msgspec.structs.replace(ITEMS[1], title="there")) == 1
    assert catalog.titles[1] == "there"


def test_genres_past_those_that_can_be_coded_can_still_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upnext.catalog.labels.MOST_LABELS", 4)
    catalog = with_spare(ITEMS)
    catalog.put(Item(item_id="n", genres=("fifth", "fourth")))
    catalog.put(Item(item_id="m", genres=("fourth", "fifth")))
    assert (catalog.genres, catalog.genre.tolist()[4:6]) == (["Drama", "Comedy", "War", "fifth"], [3, -1])
    assert marked(catalog.allowed(genres=["fourth"])) == [4, 5]
