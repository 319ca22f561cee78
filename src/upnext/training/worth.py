"""Whether a ranker gains anything by learning from its lists: few of them teach luck. Trains, and keeps nothing."""

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.training.metrics import discounts, places_in_scores
from upnext.training.ranker_loop import train_ranker
from upnext.training.session_loop import Progress

_FOLDS = 3
_CUTOFF = 10


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """What learning adds to NDCG@10 of lists that were not learnt from, against the order that a ranker starts with."""

    start: float  # NDCG@10 of that order
    gain: float
    error: float  # standard error of the gain, paired by list
    n_lists: int

    @property
    def real(self) -> bool:
        """More than luck may make it."""
        return self.gain > self.error


def worth_learning(lists: RankerLists, config: RankerConfig, *, seed: int, progress: Progress | None = None) -> Worth:
    """Trains on all folds but one and asks about that, for each; costs twice what one training does.

    The untrained ranker orders by its prior column, so each training starts where the comparison does.
    """
    folds = np.random.default_rng([seed, 41]).permutation(len(lists)) % _FOLDS
    started, learnt = (np.zeros(len(lists)) for _ in range(2))
    start_only = msgspec.structs.replace(config, epochs=0)
    for fold in range(_FOLDS):
        learning, asked = lists.take(np.flatnonzero(folds != fold)), np.flatnonzero(folds == fold)
        for settings, found in ((start_only, started), (config, learnt)):
            model = train_ranker(learning, settings, seed=seed)
            found[asked] = _gains(score_lists(model, lists.take(asked)), lists.target[asked])
        if progress is not None:
            progress(fold + 1, _FOLDS, "whether it gains by learning")
    differences = learnt - started
    error = float(differences.std(ddof=1) / np.sqrt(len(lists)))
    return Worth(start=float(started.mean()), gain=float(differences.mean()), error=error, n_lists=len(lists))


def _gains(scores: npt.NDArray[np.float32], targets: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    return discounts(places_in_scores(scores, targets), _CUTOFF)
