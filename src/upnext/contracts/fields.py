"""What single fields may hold, shared by every contract; knows nothing of encodings."""

import math
import re
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

import msgspec

from upnext.errors import ContractError

MAX_ID_BYTES = 256
MAX_ENTRIES = 64
MAX_MAP_CHARS = 16_384
FUTURE_TOLERANCE_MS = 5 * 60_000

_MAX_TENANT_CHARS = 64
_TENANT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

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


def check_map(values: dict[str, Any], path: str) -> None:
    """Raises `ContractError` unless a free-form map is small and all its numbers are finite.

    At most 64 entries, 64 values in a list, and 16,384 characters in all.
    """
    if len(values) > MAX_ENTRIES:
        check_entries(len(values), path)
    chars = 0
    for key, value in values.items():
        chars += len(key)
        if type(value) is str:
            chars += len(value)
        elif type(value) is not int:
            chars += _chars_of(value, f"{path}.{key[:64]}")
    if chars > MAX_MAP_CHARS:
        message = f"{path} has {chars} characters, more than {MAX_MAP_CHARS}; send less, or a reference to it"
        raise ContractError("context_too_large", message, path)


def _chars_of(value: Any, path: str) -> int:
    """Of a value that is no text alone; raises `ContractError` for a long list and for numbers that are not finite."""
    if type(value) is list:
        check_entries(len(value), path)
        return sum(len(each) if type(each) is str else _chars_of(each, path) for each in value)
    if type(value) is float and not math.isfinite(value):
        raise ContractError("value_not_finite", f"{path} is {value}; send a number or leave it out", path)
    return 8


def check_tenant(name: str, path: str) -> None:
    """Raises `ContractError` unless `name` can be a tenant's: a folder is called by it."""
    if not is_tenant(name):
        message = f"{path} {name[:64]!r} is no tenant's name; use 1 to 64 of A-Z a-z 0-9 _ . -, not a dot first"
        raise ContractError("bad_tenant", message, path)


def wrong_tenant(named: str, tenant: str) -> ContractError:
    """Against a record that names another tenant than the one it came in for."""
    message = (
        f"$.tenant is {named}, and this came in for {tenant}; leave the field out, or send it with the other's key"
    )
    return ContractError("wrong_tenant", message, "$.tenant")


def is_tenant(name: str) -> bool:
    """Whether `name` is 1 to 64 of `A-Za-z0-9_.-` and does not begin with a dot."""
    return len(name) <= _MAX_TENANT_CHARS and _matches_tenant(name)  # only short names are remembered


@lru_cache(1_024)
def _matches_tenant(name: str) -> bool:
    return _TENANT.fullmatch(name) is not None


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
