"""Items with like words lie close, and plain arrays give the vectors that the fitted model gave."""

import numpy as np
import pytest

from upnext.domain.event import Item
from upnext.features.content_text import embed_text, words_of
from upnext.models.content import ContentConfig, ContentModel, fit_content

SEA = ["harbour", "ship", "sail", "storm", "captain", "island"]
CITY = ["street", "tram", "tower", "office", "crowd", "bridge"]


def items() -> list[Item | None]:
    """Twenty items of the sea, twenty of the city, one without words and one nothing is known of."""
    rng = np.random.default_rng(2)
    made: list[Item | None] = []
    for number, (genre, words) in enumerate([("Sea", SEA), ("City", CITY)] * 20):
        title = " ".join(rng.choice(words, 3))
        made.append(
            Item(item_id=str(number), title=title.title(), genres=(genre,), text=" ".join(rng.choice(words, 9)))
        )
    return [*made, Item(item_id="bare"), None]


@pytest.fixture(scope="module")
def model() -> ContentModel:
    fitted = fit_content(items(), ContentConfig(embedding_size=8))
    assert fitted is not None
    return fitted


def test_vectors_have_length_one_and_items_without_words_have_zeros(model) -> None:
    assert model.vectors.shape == (42, 8)
    assert model.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(model.vectors[:40], axis=1), 1, rtol=1e-5)
    assert not model.vectors[40:].any()


def test_items_of_one_topic_are_closer_than_any_two_of_different_topics(model) -> None:
    likeness = model.vectors[:40] @ model.vectors[:40].T
    sea, city = slice(0, 40, 2), slice(1, 40, 2)
    assert likeness[sea, sea].min() > likeness[sea, city].max()
    assert likeness[city, city].min() > likeness[sea, city].max()


def test_embedding_without_scikit_learn_agrees_with_the_fitted_vectors(model) -> None:
    again = [embed_text(model.text, words_of(item.title, item.genres, item.text)) for item in items()[:-1]]
    np.testing.assert_allclose(np.stack(again), model.vectors[:-1], atol=1e-5)


def test_embedding_agrees_on_the_titles_of_movielens(shared_data) -> None:
    import csv
    import io
    import zipfile

    with zipfile.ZipFile(shared_data / "ml-1m.zip") as archive, archive.open("ml-1m/movies.csv") as file:
        movies = list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))[:1500]
    films = [Item(item_id=m["movie_id"], title=m["title"], genres=tuple(m["genres"].split("|"))) for m in movies]
    fitted = fit_content(films, ContentConfig())
    again = np.stack([embed_text(fitted.text, words_of(film.title, film.genres)) for film in films])
    np.testing.assert_allclose(again, fitted.vectors, atol=1e-5)


def test_a_query_finds_its_topic_and_unknown_words_find_nothing(model) -> None:
    query = embed_text(model.text, words_of("a CAPTAIN on the island"))
    assert set(np.argsort(-(model.vectors @ query))[:20]) == set(range(0, 40, 2))
    assert not embed_text(model.text, words_of("zebra")).any()
    assert not embed_text(model.text, []).any()


def test_words_are_lower_case_and_genres_stay_apart_from_words() -> None:
    assert words_of("The Drama", ("Drama", " "), "a b2 Ça") == ["the", "drama", "b2", "ça", "genre:drama"]


def test_data_without_shared_words_has_no_content_model() -> None:
    assert fit_content([None, Item(item_id="a")], ContentConfig()) is None
    assert fit_content([], ContentConfig()) is None
    assert fit_content([Item(item_id="a", title="one"), Item(item_id="b", title="two")], ContentConfig()) is None


def test_fewer_dimensions_than_asked_are_filled_up_with_zeros() -> None:
    few = [Item(item_id=str(n), title=title) for n, title in enumerate(["red fox", "red hen", "blue fox", "blue hen"])]
    fitted = fit_content(few, ContentConfig(embedding_size=16, max_share=1.0))
    assert fitted.vectors.shape == (4, 16)
    assert fitted.text.terms == ["blue", "fox", "hen", "red"]
    np.testing.assert_allclose(np.linalg.norm(fitted.vectors, axis=1), 1, rtol=1e-5)


def test_fitting_twice_gives_the_same_bytes(model) -> None:
    again = fit_content(items(), ContentConfig(embedding_size=8))
    assert again.vectors.tobytes() == model.vectors.tobytes()
