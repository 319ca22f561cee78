"""Cuts large calls to Redis into round trips that fit one timeout; knows nothing of connections."""

from collections.abc import Iterator, Sequence

from upnext.store.limits import tag_of

WINDOW_KEYS = 128
WINDOW_BYTES = 1024 * 1024


def of_keys(keys: Sequence[bytes], values: Sequence[bytes] | None = None) -> Iterator[Sequence[int]]:
    """Positions of the keys of one round trip after another, with all keys of one tag in one of them; at least one.

    A tag with more than fits, or a larger value, has a round trip to itself.
    """
    if len(keys) <= WINDOW_KEYS and (values is None or sum(map(len, values)) <= WINDOW_BYTES):
        yield range(len(keys))
        return
    of_tag: dict[bytes, list[int]] = {}
    for at, key in enumerate(keys):
        of_tag.setdefault(tag_of(key), []).append(at)
    units = list(of_tag.values())
    sizes = [0 if values is None else sum(len(values[at]) for at in unit) for unit in units]
    for some in _cut([len(unit) for unit in units], sizes):
        yield [at for unit in units[some] for at in unit]


def of_groups(groups: Sequence[Sequence[bytes]], *values: Sequence[Sequence[bytes | None]]) -> Iterator[slice]:
    """Which groups are of one round trip after another, in their order; `values` are what is sent with each."""
    sizes = [0] * len(groups)
    for side in values:
        sizes = [size + sum(len(value or b"") for value in group) for size, group in zip(sizes, side, strict=True)]
    yield from _cut([len(keys) for keys in groups], sizes)


def _cut(counts: Sequence[int], sizes: Sequence[int]) -> Iterator[slice]:
    """Slices within both bounds, or of one; one even of nothing."""
    first = count = size = 0
    for at, (more, bytes_more) in enumerate(zip(counts, sizes, strict=True)):
        if at > first and (count + more > WINDOW_KEYS or size + bytes_more > WINDOW_BYTES):
            yield slice(first, at)
            first, count, size = at, 0, 0
        count += more
        size += bytes_more
    yield slice(first, len(counts))
