"""The words of a search."""

from upnext.features.content_text import words_of_query


def test_a_search_is_its_words_and_the_genres_that_it_may_name() -> None:
    assert words_of_query("Dark Science-Fiction film") == [
        "dark", "science", "fiction", "film",
        "genre:dark", "genre:science-fiction", "genre:film", "genre:dark science-fiction", "genre:science-fiction film",
        "genre:dark science-fiction film",
    ]  # fmt: skip


def test_a_search_of_nothing_has_no_words() -> None:
    assert words_of_query("") == words_of_query(" \n ") == []


def test_of_a_long_search_only_the_beginning_is_read() -> None:
    words = words_of_query(" ".join(f"word{number}" for number in range(100_000)))
    assert "word31" in words
    assert not {"word32", "genre:word32"} & set(words)
    assert len(words) < 130
