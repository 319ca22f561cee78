"""Artwork follows from title and genre alone, is small, and holds nothing of what was written."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnext.console.artwork import MOST_BYTES, artwork


def test_the_same_title_has_the_same_picture_and_another_one_another() -> None:
    first = str(artwork("The Talking Robot", "Science Fiction"))
    artwork.cache_clear()
    assert str(artwork("The Talking Robot", "Science Fiction")) == first
    assert str(artwork("The Talking Robot 2", "Science Fiction")) != first
    assert first.startswith('<svg viewBox="0 0 320 180"')


@given(st.text(max_size=200), st.text(max_size=40))
def test_any_title_has_a_small_picture_without_a_letter_of_it(title: str, genre: str) -> None:
    svg = str(artwork(title, genre))
    assert len(svg.encode()) <= MOST_BYTES
    tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "rect", "circle", "path"}


def test_half_a_letter_is_no_reason_to_fail() -> None:
    assert artwork("\ud800", "")


def ground(title: str, genre: str) -> int:
    """The hue of a picture's ground."""
    found = re.search(r"hsl\((\d+),", str(artwork(title, genre)))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("genre", ["Horror", "Comedy", "Drama"])
def test_items_of_a_genre_have_about_one_colour(genre: str) -> None:
    hues = [ground(f"title {number}", genre) for number in range(40)]
    middle = hues[0]
    assert all(min(abs(hue - middle), 360 - abs(hue - middle)) <= 14 for hue in hues)
    assert len(set(hues)) > 5
