"""The cache in the process: bounded in bytes, the head pinned, the rest by use."""

from dataclasses import replace

import numpy as np

from tests.state.test_shortlist import shortlist
from upnext.ahead.l1 import L1, AtHand, Key

ENTRY_BYTES = 5_000 + 2_000


def key(name: str) -> Key:
    return (f"u:{name}", "", ())


def entry(*, head: bool = False, seen: int = 0) -> AtHand:
    held = replace(shortlist(100, 100), head=head)
    return AtHand(held, np.zeros(seen, np.int32), 1, (0, 0))


def test_what_was_used_longest_ago_makes_way() -> None:
    l1 = L1(3 * ENTRY_BYTES, 0.0)
    for name in "abc":
        l1.put(key(name), entry())
    assert l1.get(key("a")) is not None
    l1.put(key("d"), entry())
    assert [l1.get(key(name)) is not None for name in "abcd"] == [True, False, True, True]


def test_it_never_holds_more_bytes_than_it_may() -> None:
    l1 = L1(10 * ENTRY_BYTES, 0.5)
    for number in range(100):
        l1.put(key(str(number)), entry(head=number % 2 == 0, seen=number))
        assert l1.size_bytes <= 10 * ENTRY_BYTES
    assert 8 <= len(l1) <= 10


def test_the_head_is_not_pushed_out_by_the_rest_and_has_no_more_than_its_share() -> None:
    l1 = L1(10 * ENTRY_BYTES, 0.2)
    for name in "abc":
        l1.put(key(name), entry(head=True))
    for number in range(50):
        l1.put(key(str(number)), entry())
    assert [l1.get(key(name)) is not None for name in "abc"] == [False, True, True]
    assert len(l1) == 2 + 8


def test_a_user_of_the_head_stays_there_when_an_ordinary_shortlist_replaces_the_batchs() -> None:
    l1 = L1(4 * ENTRY_BYTES, 0.5)
    l1.put(key("a"), entry(head=True))
    l1.put(key("a"), entry())
    for number in range(10):
        l1.put(key(str(number)), entry())
    assert l1.get(key("a")) is not None


def test_one_that_becomes_head_is_kept_once() -> None:
    l1 = L1(10 * ENTRY_BYTES, 0.5)
    l1.put(key("a"), entry())
    l1.put(key("a"), entry(head=True))
    assert len(l1) == 1
    l1.drop(key("a"))
    assert len(l1) == 0
    assert l1.get(key("a")) is None


def test_what_is_larger_than_all_of_it_is_not_kept_nor_is_what_it_replaces() -> None:
    l1 = L1(2 * ENTRY_BYTES, 0.0)
    l1.put(key("a"), entry())
    l1.put(key("a"), entry(seen=10_000))
    assert len(l1) == 0
    nothing = L1(0, 0.25)
    nothing.put(key("a"), entry())
    assert nothing.get(key("a")) is None


def test_looking_is_no_use_and_all_keys_have_their_turn() -> None:
    l1 = L1(4 * ENTRY_BYTES, 0.5)
    l1.put(key("h"), entry(head=True))
    for name in "ab":
        l1.put(key(name), entry())
    assert l1.look(key("a")) is not None
    assert l1.look(key("h")) is not None
    assert l1.look(key("z")) is None
    l1.put(key("c"), entry())
    assert l1.look(key("a")) is None, "it was the one used longest ago"
    turns = [l1.next_keys(2) for _ in range(4)]
    assert sorted(turns[0] + turns[1]) == sorted(turns[2] + turns[3]) == [key("b"), key("c"), key("h")]
