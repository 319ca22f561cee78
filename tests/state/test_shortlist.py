"""The record of a shortlist: what goes in comes out, and damage is absence."""

import numpy as np
import pytest

from upnext.state.shortlist import Shortlist, shortlist_key


def shortlist(n: int = 5, n_below: int = 3) -> Shortlist:
    return Shortlist(
        release="20261120-a",
        n_interactions=7,
        made_ms=1_700_000_000_123,
        origin="prefetch",
        region="north",
        genres=("Comedy", "Drama"),
        exit="exit2",
        rows=np.arange(n, dtype=np.int32) * 3,
        scores=np.linspace(2.0, -1.0, n, dtype=np.float32),
        sources=np.arange(n, dtype=np.uint16) * 100,
        below_rows=np.arange(n_below, dtype=np.int32) + 50,
        below_scores=np.full(n_below, 0.25, np.float32),
        below_sources=np.full(n_below, 513, np.uint16),
        head=True,
        n_moves=9,
    )


@pytest.mark.parametrize(("n", "n_below"), [(5, 3), (0, 0), (100, 0), (0, 4)])
def test_what_is_packed_comes_out_again(n: int, n_below: int) -> None:
    before = shortlist(n, n_below)
    after = Shortlist.unpack(before.pack())
    assert after is not None
    for name in Shortlist.__slots__:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)
    assert after.rows.dtype == np.int32
    assert after.below_scores.dtype == np.float32


def test_a_record_takes_ten_bytes_an_item_beside_its_names() -> None:
    names_and_header = len(shortlist(0, 0).pack())
    assert len(shortlist(100, 100).pack()) == names_and_header + 2_000
    assert shortlist(100, 100).size_bytes == 2_000


def test_what_is_absent_damaged_or_of_another_format_is_no_shortlist() -> None:
    raw = shortlist().pack()
    assert Shortlist.unpack(None) is None
    assert Shortlist.unpack(b"") is None
    assert Shortlist.unpack(raw[:-1]) is None
    assert Shortlist.unpack(raw + b"\0") is None
    assert Shortlist.unpack(b"\xff" + raw[1:]) is None
    broken = bytearray(raw)
    broken[30:40] = b"\xc1" * 10  # a byte that MessagePack never uses
    assert Shortlist.unpack(bytes(broken)) is None


def test_its_key_ends_as_that_of_the_users_state_does() -> None:
    assert shortlist_key("u:ann").rpartition(b"/")[2] == b"u:ann"
