"""What the item contract accepts and refuses."""

import json
import math

import pytest

from upnext.contracts.item import check_item, decode_item, decode_items
from upnext.domain.event import Item
from upnext.errors import ContractError

TEA = {"item_id": "tea", "title": "Green tea", "genres": ["drinks", "hot"]}


def test_every_field_of_the_wire_reaches_the_item() -> None:
    fields = {
        **TEA, "text": "leaves", "published_ms": 1_700_000_000_000, "price": 2.5, "regions": ["eu"],
        "available": False, "promoted": True, "attributes": {"organic": True, "cups": [1, 2]}, "tenant": "shop",
        "blocked": True, "producer": "cms", "schema_version": 1,
    }  # fmt: skip
    assert decode_item(json.dumps(fields).encode()) == Item(
        item_id="tea", title="Green tea", genres=("drinks", "hot"), text="leaves", published_ms=1_700_000_000_000,
        price=2.5, regions=("eu",), available=False, promoted=True, attributes={"organic": True, "cups": [1, 2]},
        tenant="shop", blocked=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"item_id": None}, "missing_item", "$.item_id"),
        ({"item_id": ""}, "empty_id", "$.item_id"),
        ({"item_id": "x" * 257}, "id_too_long", "$.item_id"),
        ({"title": "x" * 1025}, "text_too_long", "$.title"),
        ({"text": "x" * 65_537}, "text_too_long", "$.text"),
        ({"genres": "drinks"}, "wrong_type", "$.genres"),
        ({"genres": ["drinks", ""]}, "empty_id", "$.genres[1]"),
        ({"regions": [str(number) for number in range(65)]}, "too_many_entries", "$.regions"),
        ({"price": -1}, "price_out_of_range", "$.price"),
        ({"published_ms": 1_700_000_000}, "timestamp_in_seconds", "$.published_ms"),
        ({"published_ms": 1_700_000_000_000_000}, "timestamp_in_microseconds", "$.published_ms"),
        ({"published_ms": 1_700_000_000_000_000_000}, "timestamp_in_nanoseconds", "$.published_ms"),
        ({"attributes": {"a": {"b": 1}}}, "wrong_type", "$.attributes[...]"),
        ({"attributes": {"a": "x" * 16_384}}, "context_too_large", "$.attributes"),
        ({"tenant": "a b"}, "bad_tenant", "$.tenant"),
        ({"schema_version": 9}, "unknown_schema", "$.schema_version"),
    ],
)
def test_a_broken_field_is_refused_with_its_reason_and_path(changes: dict, reason: str, path: str) -> None:
    with pytest.raises(ContractError) as caught:
        decode_item(json.dumps({**TEA, **changes}).encode())
    assert (caught.value.reason, caught.value.path) == (reason, path)


@pytest.mark.parametrize("year_ms", [-1_577_923_200_000, 0, 31_536_000_000, 4_102_444_800_000])
def test_items_may_be_older_than_1970_and_announced_for_later(year_ms: int) -> None:
    assert decode_item(json.dumps({**TEA, "published_ms": year_ms}).encode()).published_ms == year_ms


@pytest.mark.parametrize("price", [math.nan, math.inf])
def test_a_price_that_is_not_finite_is_refused_wherever_it_comes_from(price: float) -> None:
    with pytest.raises(ContractError):
        check_item(Item(item_id="tea", price=price))


def test_items_of_one_body_are_judged_one_by_one() -> None:
    raw = json.dumps({"items": [TEA, {**TEA, "title": 5}, {"title": "no id"}]}).encode()
    tea, untitled, nameless = decode_items(raw)
    assert isinstance(tea, Item)
    assert isinstance(untitled, ContractError)
    assert isinstance(nameless, ContractError)
    assert (untitled.path, nameless.path) == ("$.items[1].title", "$.items[2].item_id")
