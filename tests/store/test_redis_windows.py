"""Large calls are cut into round trips within bounds, and what belongs together stays together."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.store.limits import tag_of
from upnext.store.redis_windows import WINDOW_BYTES, WINDOW_KEYS, of_groups, of_keys

sizes = st.lists(st.integers(0, 2 * WINDOW_BYTES) | st.integers(0, WINDOW_BYTES // 8), max_size=400)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(sizes=sizes, tags=st.integers(1, 300))
def test_every_key_is_sent_once_together_with_all_of_its_tag(sizes: list[int], tags: int) -> None:
    keys = [b"%d/%d" % (number, number * 7 % tags) for number in range(len(sizes))]
    zeros = bytes(2 * WINDOW_BYTES)
    values = [zeros[:size] for size in sizes]
    windows = list(of_keys(keys, values))
    assert sorted(at for window in windows for at in window) == list(range(len(keys)))
    assert all(list(window).count(at) == 1 for window in windows for at in window)
    found = Counter(tag for window in windows for tag in {tag_of(keys[at]) for at in window})
    assert set(found.values()) <= {1}
    for window in windows:
        one_tag = len({tag_of(keys[at]) for at in window}) <= 1
        assert one_tag or (len(window) <= WINDOW_KEYS and sum(sizes[at] for at in window) <= WINDOW_BYTES)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(sizes=sizes)
def test_every_group_is_sent_once_in_order_within_both_bounds(sizes: list[int]) -> None:
    groups = [[b"a", b"b"] for _ in sizes]
    zeros = bytes(2 * WINDOW_BYTES)
    windows = list(of_groups(groups, [[zeros[:size], None] for size in sizes]))
    assert [at for some in windows for at in range(len(groups))[some]] == list(range(len(groups)))
    for some in windows:
        assert len(groups[some]) <= 1 or (2 * len(groups[some]) <= WINDOW_KEYS and sum(sizes[some]) <= WINDOW_BYTES)


def test_an_empty_call_is_one_empty_round_trip() -> None:
    assert [list(window) for window in of_keys([])] == [[]]
    assert list(of_groups([])) == [slice(0, 0)]
