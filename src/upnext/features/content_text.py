"""Words to vectors with plain arrays, for items posted a moment ago; knows not how the arrays were learned.

TF-IDF with sublinear term frequency, projected by latent semantic analysis (Deerwester et al., JASIS 1990).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WORD = re.compile(r"\w\w+")
_MOST_QUERY_WORDS = 32  # of a search; what comes after them is not read
_MOST_GENRE_WORDS = 3


def words_of(title: str = "", genres: Iterable[str] = (), text: str = "") -> list[str]:
    """The terms of an item: lower-case words of two letters or more of title and text, and each genre as one term.

    Genre terms begin with `genre:`, which no word can, so that the genre Drama and the word "drama" stay apart.
    """
    return WORD.findall(f"{title} {text}".lower()) + [
        f"genre:{genre.strip().lower()}" for genre in genres if genre.strip()
    ]


def words_of_query(query: str) -> list[str]:
    """The terms of a search: its words, and what of it may be the name of a genre, which is one to three words."""
    parts = query.lower().split(maxsplit=_MOST_QUERY_WORDS)[:_MOST_QUERY_WORDS]
    runs = (
        " ".join(parts[begin : begin + length])
        for length in range(1, _MOST_GENRE_WORDS + 1)
        for begin in range(len(parts) - length + 1)
    )
    return WORD.findall(" ".join(parts)) + [f"genre:{run}" for run in runs]


@dataclass(frozen=True, slots=True)
class ContentText:
    """What a release keeps of the content model: terms with their places, `idf` and `projection`.

    `places`: term -> row; `idf` (n_terms,) float32; `projection` (n_terms, d) float32.
    """

    places: Mapping[str, int]
    idf: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]

    @classmethod
    def from_terms(
        cls, terms: Iterable[str], idf: npt.NDArray[np.float32], projection: npt.NDArray[np.float32]
    ) -> "ContentText":
        """Terms in the order of the rows of `idf` and `projection`."""
        return cls({term: row for row, term in enumerate(terms)}, idf, projection)

    @property
    def terms(self) -> list[str]:
        """All terms in the order of their rows."""
        return sorted(self.places, key=self.places.__getitem__)


def embed_text(content: ContentText, words: Iterable[str]) -> npt.NDArray[np.float32]:
    """The vector of a text, (d,) float32 of length 1; all zeros when none of its words is known.

    `words` as from `words_of`, of an item or of a query; how often each occurs counts with 1 + log.
    """
    counts: dict[int, int] = {}
    for word in words:
        row = content.places.get(word)
        if row is not None:
            counts[row] = counts.get(row, 0) + 1
    if not counts:
        return np.zeros(content.projection.shape[1], dtype=np.float32)
    rows = np.fromiter(counts, dtype=np.int64, count=len(counts))
    weights = (1.0 + np.log(np.fromiter(counts.values(), dtype=np.float64, count=len(counts)))) * content.idf[rows]
    vector = (weights / np.linalg.norm(weights)) @ content.projection[rows]
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float32)


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """Searches as items of the session encoder's space: what an item that reads like the words would be.

    `to_session` (d, session_dim) float32 maps a content vector there.
    """

    text: ContentText
    to_session: npt.NDArray[np.float32]

    def of(self, query: str) -> npt.NDArray[np.float32] | None:
        """The vector of a query, (session_dim,) float32; None when none of its words is known."""
        content = embed_text(self.text, words_of_query(query))
        return content @ self.to_session if content.any() else None
