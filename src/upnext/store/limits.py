"""What keys, groups of keys and values every store accepts; knows no store."""

from collections.abc import Iterable, Sequence

from upnext.errors import StoreError

MAX_KEY_BYTES = 511
MAX_VALUE_BYTES = 16 * 1024 * 1024


def check_keys(keys: Iterable[bytes]) -> None:
    """Raises `StoreError` for a key that is not 1 to 511 bytes."""
    for key in keys:
        if not 0 < len(key) <= MAX_KEY_BYTES:
            raise StoreError(f"key {key[:40]!r} has {len(key)} bytes; use a key of 1 to {MAX_KEY_BYTES} bytes")


def tag_of(key: bytes) -> bytes:
    """What follows the key's last slash, or all of it: keys of one tag live on one server."""
    return key[key.rfind(b"/") + 1 :]


def check_groups(groups: Sequence[Sequence[bytes]]) -> None:
    """Raises `StoreError` for a key out of bounds, and for a group whose keys are not of one tag."""
    for keys in groups:
        check_keys(keys)
        if len(keys) > 1 and len({tag_of(key) for key in keys}) > 1:
            raise StoreError(
                f"the keys {[key[:40] for key in keys[:3]]} of one group differ after their last slash; "
                "keys that change together must end alike, as in state/ANA and vectors/ANA"
            )


def check_swap(
    groups: Sequence[Sequence[bytes]],
    expected: Sequence[Sequence[bytes | None]],
    values: Sequence[Sequence[bytes | None]],
) -> None:
    """Raises `StoreError` unless a swap names, per group, one expected and one new value that fits for every key."""
    check_groups(groups)
    lengths = [len(keys) for keys in groups]
    if lengths != [len(group) for group in expected] or lengths != [len(group) for group in values]:
        raise StoreError("a swap needs one expected and one new value for every key of every group; give None for none")
    for keys, group in zip(groups, values, strict=True):
        for key, value in zip(keys, group, strict=True):
            if value is not None:
                check_value(key, value)


def check_value(key: bytes, value: bytes) -> None:
    """Raises `StoreError` for a value of more than 16 MiB."""
    if len(value) > MAX_VALUE_BYTES:
        raise StoreError(
            f"value under {key[:40]!r} has {len(value)} bytes, more than {MAX_VALUE_BYTES}; "
            "split it over several keys or put it into a release"
        )


def expiry_ms(now_ms: int, ttl_ms: int) -> int:
    """The moment from which a value put now is absent; raises `StoreError` for a negative span."""
    if ttl_ms < 0:
        raise StoreError(f"ttl_ms is {ttl_ms}; give 0 or more milliseconds, or None for a value that stays")
    return now_ms + ttl_ms


def check_change(keys: int, values: int) -> None:
    """Raises `StoreError` unless an update's `change` returned one value per key."""
    if keys != values:
        raise StoreError(f"a change returned {values} values for a group of {keys} keys; return one per key, in order")
