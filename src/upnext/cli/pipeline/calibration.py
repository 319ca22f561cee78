"""The scores of a finished ranker, of whatever kind, made comparable: what each exit's mean as probabilities."""

import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.plan import TrainSettings
from upnext.funnel.ranking.ranker import Ranker
from upnext.models.ranker_lists import RankerLists
from upnext.training.calibration import CalibrationReport, calibrate

Floats = npt.NDArray[np.float32]


def calibrated(ranker: Ranker, lists: RankerLists, train: TrainSettings, seed: int) -> list[CalibrationReport]:
    """Every exit, fitted on those of `lists` that were kept back from the training, as they would be served."""
    n_kept_back = min(train.lists.parity, len(lists) // 5)
    kept_back = lists.take(np.random.default_rng(seed).permutation(len(lists))[:n_kept_back])
    return [calibrate(name, _scores(ranker, kept_back, name), kept_back.target) for name in ranker.exits]


def _scores(ranker: Ranker, lists: RankerLists, exit_name: str) -> Floats:
    scores = np.full(lists.rows.shape, -np.inf, np.float32)
    for number, rows in enumerate(lists.rows):
        valid = rows >= 0
        cross = np.ascontiguousarray(lists.cross[number][valid], np.float32)
        scores[number, valid] = ranker.score(rows[valid], lists.user[number], cross, exit_name)
    return scores
