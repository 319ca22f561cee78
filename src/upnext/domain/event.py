"""One thing that happened, and what each kind of happening means; knows nothing of bytes or storage."""

from typing import Any

import msgspec

# The code of an action is its position: append only, never reorder, since logs and releases hold the codes.
ACTIONS = (
    "view",
    "click",
    "play",
    "pause",
    "resume",
    "complete",
    "like",
    "dislike",
    "add_to_cart",
    "purchase",
    "search",
    "hover",
    "impression",
    "app_open",
)
ACTION_CODE = {action: code for code, action in enumerate(ACTIONS)}

# Actions by which a user chooses an item: they advance the session vector, are counted by trends and covisits,
# and make an item "seen".
INTERACTIONS = frozenset({"view", "click", "play", "complete", "like", "add_to_cart", "purchase"})
# Actions that tell of a wish and choose nothing: they move the session vector by a part of a step, and are not counted.
HINTS = frozenset({"hover", "search", "dislike"})
INTERACTION_CODES = frozenset(ACTION_CODE[action] for action in INTERACTIONS)
# Actions that make no sense without an item.
NEEDS_ITEM = INTERACTIONS | {"dislike", "hover", "impression", "pause", "resume"}


class Event(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """One accepted event. At least one of `user_id` and `session_id` is set.

    Stored as a MessagePack array, so fields may only be appended, with defaults.
    """

    event_id: str
    action: str
    timestamp_ms: int
    user_id: str | None = None
    session_id: str | None = None
    item_id: str | None = None
    request_id: str | None = None  # the slate this event answers, for impressions joined to outcomes
    value: float | None = None  # rating, price paid, seconds watched: what the action measures
    query: str | None = None  # the words of a search
    context: dict[str, Any] = {}  # surface, device, region, mode, position, …
    tenant: str = "default"
    consent: bool = True
    producer: str = ""
    schema_version: int = 1  # of the contract it was written by


class Item(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """One thing that can be recommended. Stored as a MessagePack array: append fields only, with defaults."""

    item_id: str
    title: str = ""
    genres: tuple[str, ...] = ()  # the first is the primary one, which adjacency rules look at
    text: str = ""  # description, tags, authors: what content models read beside the title
    published_ms: int | None = None
    price: float | None = None
    regions: tuple[str, ...] = ()  # where it may be shown; empty: everywhere
    available: bool = True
    promoted: bool = False
    attributes: dict[str, Any] = {}
    tenant: str = "default"
    blocked: bool = False  # must not leave at any tier, whatever else is said of it


class User(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """What is known of a user beside their events. Stored as a MessagePack array: append fields only, with defaults."""

    user_id: str
    attributes: dict[str, Any] = {}  # gender, age, country, …: categorical unless a number
    tenant: str = "default"
