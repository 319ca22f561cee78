"""The ranking every answer begins with: what the crowd chooses now. Knows no user."""

import numpy as np
import numpy.typing as npt

from upnext.features.spec import SOURCE_BIT
from upnext.funnel.answer import Ranked
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]


class Popular:
    """Made anew only when the crowd moves. Any thread may ask."""

    def __init__(self, crowd: Crowd, catalogue: Rows) -> None:
        """`catalogue` (n,): what stands in while nobody has chosen anything."""
        self._crowd = crowd
        self._held = self._catalogue = _ranked(catalogue)

    def ranked(self) -> Ranked:
        """What is popular now, the most popular first; the scores say nothing but the order."""
        rows, held = self._crowd.trends.popular(), self._held
        if rows is held.rows:  # the same array until the crowd moves
            return held
        if not len(rows):
            return self._catalogue
        self._held = held = _ranked(rows)
        return held


def _ranked(rows: Rows) -> Ranked:
    falling = np.linspace(1.0, 0.0, len(rows), endpoint=False, dtype=np.float32)
    return Ranked("popular", rows, falling, np.full(len(rows), SOURCE_BIT["popular"], np.uint16))
