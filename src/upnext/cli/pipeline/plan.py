"""Which events teach what, and the settings of one training run; learns nothing."""

from typing import Annotated, Literal

import msgspec

from upnext.compress.parity import ParityBounds
from upnext.compress.step_choice import StepBounds
from upnext.compress.sweep import CompressSettings
from upnext.errors import TrainingError
from upnext.ingest.columns import EventColumns
from upnext.models.content import ContentConfig
from upnext.models.linear import LinearConfig
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_trees import TreesConfig
from upnext.models.session_encoder import SessionConfig
from upnext.models.two_tower import TwoTowerConfig
from upnext.training.selection import FeatureSettings
from upnext.training.splits import Mask, Split, by_time, interactions, leave_one_out

SplitName = Literal["leave-one-out", "time"]


class ListSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The lists that the ranker learns from."""

    most: int = 20_000  # requests replayed; more are sampled down, seeded
    parity: int = 1_000  # of them kept back to compare exported graphs with the trained model
    # With fewer lists training asks first whether learning from them gains anything, by folds, for twice the time; if
    # not, candidates stay in the order that the ranker starts with. 0: never asked.
    few: int = 3_000
    impressions: bool = True  # slates as served and what was chosen of them teach too, where the same encoders served
    fewest_impressions: int = 200  # slates with a choice below which they are left out
    impression_weight: float = 1.0  # what such a slate counts beside a list of the replay


class IndexSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The vector indexes."""

    queries: int = 500  # user and session vectors that index kinds are measured with
    # Kinds to try, of "flat", "ivf", "hnsw" and "pq" (product-quantised); none: those that can win at this size.
    kinds: tuple[Literal["flat", "ivf", "hnsw", "pq"], ...] = ()


class MergeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The weights of the sources of candidates."""

    cases: int = 1_500  # requests replayed to learn them from; 0: they are not learnt


class UpdateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`upnext train --update`: what is learnt from the events since the release that is updated."""

    # Newest of the new events from whose company vectors of new items start; of how many, drawn by user, they are
    # learnt; passes over those, and the peak of the schedule.
    most_events: int = 100_000
    most_choices: int = 25_000
    item_epochs: int = 4
    item_learning_rate: float = 1e-2
    # Events before and after one with a new item, whose items it starts as the mean of.
    window: int = 5
    # Share of the new events, the newest, that the ranker learns from; new items are then learnt from all of them.
    ranker_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    # Most lists made of them; lists of older events for each, against forgetting; and the least in all.
    lists: int = 2_000
    replay_share: float = 0.25
    fewest_lists: int = 300
    # Passes over the lists at most, and the peak of the schedule. Only the layers from the first exit's last one on
    # and the heads learn.
    ranker_epochs: int = 3
    ranker_learning_rate: float = 3e-4


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one training run, by the part that reads them: `train.toml` in the home folder, or `--set`."""

    session: SessionConfig = SessionConfig()
    two_tower: TwoTowerConfig = TwoTowerConfig()
    content: ContentConfig = ContentConfig()
    linear: LinearConfig = LinearConfig()
    ranker: RankerConfig = RankerConfig()
    trees: TreesConfig = TreesConfig()
    lists: ListSettings = ListSettings()
    features: FeatureSettings = FeatureSettings()
    index: IndexSettings = IndexSettings()
    merge: MergeSettings = MergeSettings()
    parity: ParityBounds = ParityBounds()
    compress: CompressSettings = CompressSettings()
    step: StepBounds = StepBounds()
    update: UpdateSettings = UpdateSettings()


def split_of(columns: EventColumns, name: SplitName, *, hold_out: bool, cut_ms: int | None = None) -> Split:
    """The named split, by time at `cut_ms` or where the newest tenth begins.

    Without `hold_out` nothing is kept for evaluation: the ranker learns from the newest part.
    """
    split = leave_one_out(columns) if name == "leave-one-out" else by_time(columns, cut_ms=cut_ms)
    if hold_out:
        return split
    newest: Mask = split.train & False
    if name == "leave-one-out":
        newest[split.case_events] = True
    else:
        first_case = int(split.case_events.min())
        newest[first_case:] = interactions(columns)[first_case:]
    return Split(split.name, split.train | split.ranker, newest, split.case_users, split.case_events)


def check_held_out(facts: dict[str, object], name: SplitName) -> None:
    """Raises `TrainingError` unless the release with these facts was trained without what the split asks about."""
    if facts.get("split") != name or not facts.get("hold_out"):
        raise TrainingError(
            f"this release was trained with split {facts.get('split')!r}"
            f"{' and nothing held out' if not facts.get('hold_out') else ''}, so it may have seen the answers; "
            f"run `upnext train --split {name} --hold-out` first"
        )
