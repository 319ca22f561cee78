"""What single fields may hold, shared by every contract; knows nothing of encodings."""

from typing import Annotated, TypeAlias

import msgspec

from upnext.errors import ContractError

MAX_ID_BYTES = 256
MAX_ENTRIES = 64
FUTURE_TOLERANCE_MS = 5 * 60_000

# Integers beyond 64 bits cannot be stored.
Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Scalar: TypeAlias = str | Int64 | float | bool | None
# What free-form maps (an event's context, an item's attributes) may hold: scalars and flat lists of them.
Attributes: TypeAlias = dict[str, Scalar | list[Scalar]]

# A number is a date in milliseconds from 1973 on exactly when it lies in [1e11, 1e14); seconds, microseconds and
# nanoseconds of the years 1973 to 5138 all lie outside, in bands of their own.
FIRST_MS = 10**11
FIRST_US = 10**14
FIRST_NS = 10**17
FIRST_SECOND = 10**8


def check_id(value: str, path: str) -> None:
    """Raises `ContractError` unless `value` has 1 to 256 bytes of UTF-8."""
    if not value:
        raise ContractError("empty_id", f"{path} is an empty string; leave the field out or give an id", path)
    # A character has at most four bytes, so short ids need no encoding.
    if len(value) > MAX_ID_BYTES // 4:
        size = len(value.encode())
        if size > MAX_ID_BYTES:
            message = f"{path} has {size} bytes, more than the {MAX_ID_BYTES} an id may have; send a shorter id"
            raise ContractError("id_too_long", message, path)


def check_length(value: str, limit_chars: int, path: str) -> None:
    """Raises `ContractError` if `value` has more than `limit_chars` characters."""
    if len(value) > limit_chars:
        message = f"{path} has {len(value)} characters, more than {limit_chars}; send less text"
        raise ContractError("text_too_long", message, path)


def check_entries(count: int, path: str) -> None:
    """Raises `ContractError` if a list or map has more than 64 entries."""
    if count > MAX_ENTRIES:
        message = f"{path} has {count} entries, more than {MAX_ENTRIES}; send fewer"
        raise ContractError("too_many_entries", message, path)


def check_moment(timestamp_ms: int, now_ms: int, path: str) -> None:
    """Raises `ContractError` unless `timestamp_ms` is a date from 1973 on, at most five minutes after `now_ms`."""
    if FIRST_MS <= timestamp_ms <= now_ms + FUTURE_TOLERANCE_MS:
        return
    unit = unit_of(timestamp_ms)
    if unit is None:
        message = f"{path} {timestamp_ms} is before 1973 in any unit; send milliseconds since 1970-01-01 UTC"
        raise ContractError("timestamp_too_old", message, path)
    if unit != "milliseconds":
        message = f"{path} {timestamp_ms} is in {unit}; send milliseconds since 1970-01-01 UTC"
        raise ContractError(f"timestamp_in_{unit}", message, path)
    ahead_s = (timestamp_ms - now_ms) // 1000
    message = f"{path} {timestamp_ms} lies {ahead_s} s in the future, past the five minutes allowed; check that clock"
    raise ContractError("timestamp_in_future", message, path)


def unit_of(timestamp: int) -> str | None:
    """The unit a date of the years 1973 to 5138 is counted in, by its magnitude; None for anything earlier."""
    if timestamp < FIRST_SECOND:
        return None
    if timestamp < FIRST_MS:
        return "seconds"
    if timestamp < FIRST_US:
        return "milliseconds"
    return "microseconds" if timestamp < FIRST_NS else "nanoseconds"
