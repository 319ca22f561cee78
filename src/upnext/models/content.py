"""The content ("shadow") model: item texts to vectors, fitted with scikit-learn; knows nothing of users or events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.domain.event import Item
from upnext.features.content_text import ContentText, words_of


class ContentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the content model; the same record and the same items give the same vectors."""

    # Length of the vectors.
    embedding_size: int = 64
    # A word must occur in this many items to be a term; rarer ones say nothing about likeness.
    min_items: int = 2
    # A word occurring in more than this share of the items is no term.
    max_share: float = 0.5
    # Most terms kept, the most frequent ones; the projection takes 4 bytes × terms × embedding_size.
    max_terms: int = 50_000
    # Seed of the randomised decomposition.
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ContentModel:
    """What is known of items by their words alone; the inner product of two vectors is their likeness, in [-1, 1].

    `vectors` (n_items, embedding_size) float32 of length 1, zeros for items without known words; `text` embeds others.
    """

    vectors: npt.NDArray[np.float32]
    text: ContentText


def fit_content(items: Sequence[Item | None], config: ContentConfig) -> ContentModel | None:
    """Learn terms and their projection from `items` in row order; None stands for an item nothing is known of.

    Returns None when no two items share a usable word: there is no content to go by.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    documents = [[] if item is None else words_of(item.title, item.genres, item.text) for item in items]
    n_described = sum(map(bool, documents))
    vectorizer = TfidfVectorizer(
        analyzer=list,
        sublinear_tf=True,
        min_df=config.min_items,
        max_df=max(config.min_items, int(config.max_share * n_described)),
        max_features=config.max_terms,
        dtype=np.float32,
    )
    try:
        weights = vectorizer.fit_transform(documents)
    except ValueError:  # scikit-learn's word for "no terms remain"
        return None
    projection = _projection(weights, config)
    vectors = np.asarray(weights @ projection, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0, lengths, 1)
    idf = np.asarray(vectorizer.idf_, dtype=np.float32)
    return ContentModel(vectors, ContentText.from_terms(vectorizer.get_feature_names_out().tolist(), idf, projection))


def _projection(weights: Any, config: ContentConfig) -> npt.NDArray[np.float32]:
    """Terms to vectors, (n_terms, embedding_size) float32; columns of zeros where the data has fewer dimensions."""
    from sklearn.decomposition import TruncatedSVD

    n_items, n_terms = weights.shape
    projection = np.zeros((n_terms, config.embedding_size), dtype=np.float32)
    size = min(config.embedding_size, n_terms, n_items)
    svd = TruncatedSVD(n_components=size, algorithm="randomized", n_iter=5, random_state=config.seed)
    svd.fit(weights)
    projection[:, :size] = svd.components_.T
    return projection
