"""Settings of the ranker made of boosted trees, and what its training gives; trains nothing."""

from dataclasses import dataclass

import msgspec

from upnext.errors import SettingsError


class TreesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One record per trained set of trees."""

    # After how many trees the ranker can answer, ascending; the last is the most that are grown.
    exits: tuple[int, ...] = (50, 150, 300)
    # Deepest tree, share by which each tree's answer is shrunk, and the least sum of second derivatives in a leaf.
    depth: int = 6
    learning_rate: float = 0.1
    leaf_weight: float = 0.1
    # Share of candidates and of columns that each tree may look at.
    row_share: float = 0.8
    column_share: float = 0.8
    # Trees without a better NDCG@10 on the held-out lists before growing stops.
    patience: int = 30
    # Share of the lists held out for stopping.
    held_out_share: float = 0.1
    # Candidates per list: the target and others drawn once. 0 takes them all.
    sampled_candidates: int = 100

    def __post_init__(self) -> None:
        if not self.exits or list(self.exits) != sorted(set(self.exits)) or self.exits[0] < 1:
            raise SettingsError(f"trees.exits must be ascending numbers of trees, 1 or more, but are {self.exits}")
        if self.sampled_candidates == 1:
            raise SettingsError(
                "trees.sampled_candidates = 1 leaves nothing to tell the target from; use 0 or 2 and more"
            )
        if not 0 < self.held_out_share < 1:
            raise SettingsError(f"trees.held_out_share must lie between 0 and 1, but is {self.held_out_share}")


@dataclass(frozen=True, slots=True)
class RankerTrees:
    """Grown trees: `model` is XGBoost's own UBJSON; `exits` the numbers of trees after which it can answer, the last
    all of them; `columns` the names of the inputs; `gains` what the splits of each column brought, in all."""

    model: bytes
    exits: tuple[int, ...]
    columns: list[str]
    gains: dict[str, float]
