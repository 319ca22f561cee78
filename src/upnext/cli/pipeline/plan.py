"""Which events teach what, and the settings of one training run; learns nothing."""

from typing import Literal

import msgspec

from upnext.compress.parity import ParityBounds
from upnext.errors import TrainingError
from upnext.ingest.columns import EventColumns
from upnext.models.content import ContentConfig
from upnext.models.ranker_config import RankerConfig
from upnext.models.session_encoder import SessionConfig
from upnext.models.two_tower import TwoTowerConfig
from upnext.training.splits import Mask, Split, by_time, interactions, leave_one_out

SplitName = Literal["leave-one-out", "time"]


class ListSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The lists that the ranker learns from."""

    most: int = 20_000  # requests replayed; more are sampled down, seeded
    parity: int = 1_000  # of them kept back to compare exported graphs with the trained model


class IndexSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The vector indexes."""

    queries: int = 500  # user and session vectors that index kinds are measured with


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one training run, by the part that reads them: `train.toml` in the home folder, or `--set`."""

    session: SessionConfig = SessionConfig()
    two_tower: TwoTowerConfig = TwoTowerConfig()
    content: ContentConfig = ContentConfig()
    ranker: RankerConfig = RankerConfig()
    lists: ListSettings = ListSettings()
    index: IndexSettings = IndexSettings()
    parity: ParityBounds = ParityBounds()


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
