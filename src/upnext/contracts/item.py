"""The contract of a catalogue item: from the wire or ready made in, an accepted one or the reason against it out."""

import math
from typing import Any

from upnext.contracts.families import ITEM, ItemOnWire, check_version
from upnext.contracts.fields import (
    FIRST_US,
    check_entries,
    check_id,
    check_length,
    check_map,
    check_tenant,
    unit_of,
    wrong_tenant,
)
from upnext.contracts.json_body import Accept, JsonReader
from upnext.domain.event import Item
from upnext.errors import ContractError

MAX_TITLE_CHARS = 1_024
MAX_TEXT_CHARS = 65_536
# 5e8 … 5e9 are dates of 1985 to 2128 in seconds, but only some days of January and February 1970 in milliseconds.
_SECONDS = range(500_000_000, 5_000_000_000)

ITEMS_IN_JSON = JsonReader(ItemOnWire, "items", "attributes")


def decode_item(raw: bytes) -> Item:
    """The item in `raw`, one JSON object in UTF-8, of any tenant.

    Raises `ContractError`, and nothing else, whatever the bytes.
    """
    return ITEMS_IN_JSON.one(raw, item_acceptor(None))


def decode_items(raw: bytes) -> list[Item | ContractError]:
    """The items of a body: one object, an array of objects, or `{"items": [...]}`.

    One entry per item in their order; a `ContractError` (`$[3].title`) stands for each that was refused, and one
    alone for a body that cannot be read. Never raises.
    """
    return ITEMS_IN_JSON.read(raw, item_acceptor(None)).in_order()


def check_item(item: Item) -> None:
    """Raises `ContractError` unless the item keeps the contract, however it came in.

    An id of 1 to 256 bytes; title, text and lists within their limits; a price that is finite and not negative; a
    date of publication in milliseconds, before 1970 as well as after; small attributes; a possible tenant.
    """
    check_id(item.item_id, "$.item_id")
    check_tenant(item.tenant, "$.tenant")
    check_length(item.title, MAX_TITLE_CHARS, "$.title")
    check_length(item.text, MAX_TEXT_CHARS, "$.text")
    for name, labels in (("genres", item.genres), ("regions", item.regions)):
        check_entries(len(labels), f"$.{name}")
        for position, label in enumerate(labels):
            check_id(label, f"$.{name}[{position}]")
    check_map(item.attributes, "$.attributes")
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


def item_acceptor(tenant: str | None) -> Accept[Item]:
    """Makes an `Item` of an `ItemOnWire`, or raises `ContractError`; `tenant` as for `event_acceptor`."""

    def accept(wire: Any) -> Item:
        if wire.item_id is None:
            raise ContractError("missing_item", "$.item_id is missing; send it", "$.item_id")
        item = Item(
            item_id=wire.item_id,
            title=wire.title,
            genres=tuple(wire.genres),
            text=wire.text,
            published_ms=wire.published_ms,
            price=wire.price,
            regions=tuple(wire.regions),
            available=wire.available,
            promoted=wire.promoted,
            attributes=wire.attributes or {},
            tenant=(tenant or "default") if wire.tenant is None else wire.tenant,
            blocked=wire.blocked,
        )
        check_item(item)
        check_version(ITEM, wire.schema_version)
        if tenant is not None and item.tenant != tenant:
            raise wrong_tenant(item.tenant, tenant)
        return item

    return accept
