"""Figures of all systems over the same cases, how sure they are, and the same by segment; asks nobody."""

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.training.bootstrap import RESAMPLES, Interval, mean_intervals
from upnext.training.evaluate import Answered, Figures
from upnext.training.segments import segments_of

Intervals = dict[str, Interval]
"""95 % intervals by figure, as [low, high]."""


class SegmentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures over some of the cases; no intervals where they are of fewer than ten users."""

    n_cases: int
    n_users: int
    systems: dict[str, Figures]
    intervals: dict[str, Intervals] = {}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluation gives. `systems` and `intervals` by system and figure, `segments` by name; see docs."""

    systems: dict[str, Figures]
    intervals: dict[str, Intervals] = {}
    segments: dict[str, SegmentFigures] = {}


def measure(
    answered: Answered, counts: npt.NDArray[np.integer], *, seed: int = 0, resamples: int = RESAMPLES
) -> Measured:
    """Everything that is told of `answered`. `counts` (n_items,): interactions of each item in training.

    Intervals are of the mean over the users of these cases and draw with `seed`; coverage, which is no mean, has none.
    """
    systems, figures = list(answered.places), answered.figures
    gains = np.concatenate([answered.gains(name) for name in systems], axis=1)

    def by_system(values: list[Interval]) -> dict[str, Intervals]:
        parts = (values[at : at + len(figures)] for at in range(0, len(values), len(figures)))
        return {name: dict(zip(figures, part, strict=True)) for name, part in zip(systems, parts, strict=True)}

    def intervals_of(chosen: npt.NDArray[np.bool_]) -> dict[str, Intervals]:
        found = mean_intervals(gains[chosen], answered.users[chosen], resamples=resamples, seed=seed)
        return by_system(found) if found else {}

    segments = {}
    for name, chosen in segments_of(answered.n_before, answered.targets, counts).items():
        means = gains[chosen].mean(axis=0).reshape(len(systems), len(figures)).tolist()
        segments[name] = SegmentFigures(
            n_cases=int(chosen.sum()),
            n_users=len(np.unique(answered.users[chosen])),
            systems={name: dict(zip(figures, row, strict=True)) for name, row in zip(systems, means, strict=True)},
            intervals=intervals_of(chosen),
        )
    everything = np.ones(len(answered), dtype=bool)
    return Measured(systems=answered.table(), intervals=intervals_of(everything), segments=segments)
