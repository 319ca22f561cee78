"""The contract of a catalogue item: JSON bytes or a ready `Item` in, an accepted one or the reason against it out."""

import math

import msgspec

from upnext.contracts.fields import FIRST_US, Attributes, Int64, check_entries, check_id, check_length, unit_of
from upnext.contracts.json_body import decode_many, decode_one
from upnext.domain.event import Item
from upnext.errors import ContractError

MAX_TITLE_CHARS = 1_024
MAX_TEXT_CHARS = 65_536
# 5e8 … 5e9 are dates of 1985 to 2128 in seconds, but only some days of January and February 1970 in milliseconds.
_SECONDS = range(500_000_000, 5_000_000_000)


class _ItemOnWire(msgspec.Struct):
    """An item as JSON spells it; unknown fields are ignored."""

    item_id: str | None = None
    title: str = ""
    genres: tuple[str, ...] = ()
    text: str = ""
    published_ms: Int64 | None = None
    price: float | None = None
    regions: tuple[str, ...] = ()
    available: bool = True
    promoted: bool = False
    attributes: Attributes | None = None
    tenant: str = "default"


_ONE = msgspec.json.Decoder(_ItemOnWire)
_MANY = msgspec.json.Decoder(list[_ItemOnWire])


def decode_item(raw: bytes) -> Item:
    """The item in `raw`, one JSON object in UTF-8; raises `ContractError`, and nothing else, whatever the bytes."""
    return decode_one(raw, _ONE, _accept)


def decode_items(raw: bytes) -> list[Item | ContractError]:
    """The items of a body: one object, an array of objects, or `{"items": [...]}`.

    One entry per item in their order; a `ContractError` (`$[3].title`) stands for each that was refused, and one
    alone for a body that cannot be read. Never raises.
    """
    return decode_many(raw, "items", _ONE, _MANY, _accept)


def check_item(item: Item) -> None:
    """Raises `ContractError` unless the item keeps the contract, however it came in.

    An id of 1 to 256 bytes; title, text and lists within their limits; a price that is finite and not negative; a
    date of publication in milliseconds, before 1970 as well as after.
    """
    check_id(item.item_id, "$.item_id")
    check_id(item.tenant, "$.tenant")
    check_length(item.title, MAX_TITLE_CHARS, "$.title")
    check_length(item.text, MAX_TEXT_CHARS, "$.text")
    for name, labels in (("genres", item.genres), ("regions", item.regions)):
        check_entries(len(labels), f"$.{name}")
        for position, label in enumerate(labels):
            check_id(label, f"$.{name}[{position}]")
    check_entries(len(item.attributes), "$.attributes")
    if item.price is not None and not (math.isfinite(item.price) and item.price >= 0):
        message = f"$.price is {item.price}; send a finite number that is not negative, or leave it out"
        raise ContractError("price_out_of_range", message, "$.price")
    if item.published_ms is not None:
        _check_published(item.published_ms)


def _check_published(published_ms: int) -> None:
    span = abs(published_ms)
    if span in _SECONDS or span >= FIRST_US:
        unit = unit_of(span)
        message = f"$.published_ms {published_ms} is in {unit}; send milliseconds since 1970-01-01 UTC"
        raise ContractError(f"timestamp_in_{unit}", message, "$.published_ms")


def _accept(wire: _ItemOnWire) -> Item:
    if wire.item_id is None:
        raise ContractError("missing_item", "$.item_id is missing; send it", "$.item_id")
    item = Item(
        item_id=wire.item_id,
        title=wire.title,
        genres=wire.genres,
        text=wire.text,
        published_ms=wire.published_ms,
        price=wire.price,
        regions=wire.regions,
        available=wire.available,
        promoted=wire.promoted,
        attributes=wire.attributes or {},
        tenant=wire.tenant,
    )
    check_item(item)
    return item
