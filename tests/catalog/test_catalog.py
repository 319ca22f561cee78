"""The items of a release by row."""

from typing import Any

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
