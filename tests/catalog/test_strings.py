"""Strings in two arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnext.catalog.strings import StringTable

STRINGS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=20)


@given(STRINGS, st.randoms(use_true_random=False))
def test_every_string_comes_back_by_row_and_by_rows(strings: list[str], random: object) -> None:
    table = StringTable.of(strings)
    assert len(table) == len(strings)
    assert [table[row] for row in range(len(strings))] == strings
    rows = [random.randrange(len(strings)) for _ in range(7)] if strings else []
    assert table.take(np.array(rows, np.int32)) == [strings[row] for row in rows]


def test_strings_of_every_width_and_none_at_all_are_kept() -> None:
    strings = ["", "plain", "żółć", "映画", "🎬🍿", "", "a\0b", "e\u0301"]
    table = StringTable.of(strings)
    assert table.take(np.arange(8, dtype=np.int32)) == strings
    assert (table.blob.dtype, table.offsets.dtype) == (np.uint8, np.int64)
    assert table.offsets[-1] == len("".join(strings).encode())


def test_a_table_opens_over_arrays_that_cannot_be_written_to() -> None:
    made = StringTable.of(["a", "bc"])
    for array in (made.blob, made.offsets):
        array.flags.writeable = False
    opened = StringTable(made.blob, made.offsets)
    assert (opened[0], opened[1]) == ("a", "bc")
    with pytest.raises(IndexError):
        opened[2]


def test_strings_put_later_stand_in_the_place_of_those_in_the_arrays_and_past_them() -> None:
    table = StringTable.of(["a", "Ü", ""])
    table.put(1, "new")
    table.put(7, "far")
    table.put(0, "a")
    assert table.take(np.array([7, 1, 0, 2], np.int32)) == ["far", "new", "a", ""]
    assert ([table[row] for row in (0, 1, 7)], len(table)) == (["a", "new", "far"], 3)
    table.put(1, "Ü")
    assert table[1] == "Ü"
