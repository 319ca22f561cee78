"""Keys are the same on every machine and in every release."""

from hashlib import blake2b

import numpy as np

from upnext.domain.event import ACTION_CODE, ACTIONS, INTERACTION_CODES, INTERACTIONS, NEEDS_ITEM
from upnext.domain.identity import key_of, keys_of, subject_of


def test_a_key_is_the_first_eight_bytes_of_blake2b_for_good() -> None:
    assert key_of("item-1") == int.from_bytes(blake2b(b"item-1", digest_size=8).digest(), "little")
    keys = [key_of(""), key_of("a"), key_of("ключ")]  # as `b2sum --length=64` gives them
    assert keys == [13020603013274838756, 3405396810240292928, 2362285139686184012]


def test_keys_of_many_are_the_keys_of_each_in_order() -> None:
    keys = keys_of(identity for identity in ("b", "a", "b"))
    assert keys.dtype == np.uint64
    assert keys.tolist() == [key_of("b"), key_of("a"), key_of("b")]
    assert keys_of([]).dtype == np.uint64


def test_the_subject_is_the_user_where_known_else_the_session() -> None:
    assert subject_of("7", "9") == "u:7"
    assert subject_of(None, "9") == subject_of("", "9") == "s:9"
    assert subject_of(None, None) is None
    assert subject_of("", "") is None
    assert subject_of("9", None) != subject_of(None, "9")


def test_codes_of_actions_are_what_logs_and_releases_hold() -> None:
    assert ACTIONS[:6] == ("view", "click", "play", "pause", "resume", "complete")
    assert ACTIONS[6:] == ("like", "dislike", "add_to_cart", "purchase", "search", "hover", "impression", "app_open")
    assert ACTION_CODE["purchase"] == 9
    assert {ACTIONS[code] for code in INTERACTION_CODES} == INTERACTIONS
    assert set(ACTIONS) > NEEDS_ITEM > INTERACTIONS
    assert "dislike" not in INTERACTIONS
