"""What an item that reads like given words would be to the session encoder; knows vectors only, no words and no items.

Ridge regression (Hoerl and Kennard, Technometrics 1970) from content vectors to session item vectors, in closed form:
the linear attribute-to-feature mapping of Gantner et al., ICDM 2010.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_L2 = 1.0  # as of so many items per dimension: a few items do not decide where a word points


def fit_content_map(content: Floats, session: Floats, l2: float = _L2) -> Floats:
    """(content_dim, session_dim) float32: content vectors times it lie in the space of the session item vectors.

    `content` (n_items, content_dim), `session` (n_items, session_dim) without the bias column; items without a vector
    in either, a row of zeros, teach nothing. Regression shrinks, so the map is scaled until the items it was fitted to
    are mapped to vectors as long, at the median, as their own. All zeros where no item has both.
    """
    both = content.any(axis=1) & session.any(axis=1)
    x, y = content[both].astype(np.float64), session[both].astype(np.float64)
    mapped = np.linalg.solve(x.T @ x + l2 * np.eye(content.shape[1]), x.T @ y)
    made = float(np.median(np.linalg.norm(x @ mapped, axis=1))) if len(x) else 0.0
    if made > 0:
        mapped *= float(np.median(np.linalg.norm(y, axis=1))) / made
    return mapped.astype(np.float32)
