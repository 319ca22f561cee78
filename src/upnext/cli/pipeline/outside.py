"""What a release's ranker learns from, as plain arrays in a file, for models trained outside."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.encoders import Step
from upnext.cli.pipeline.evaluation import Progress, Subject, cut_ms_of, open_subject, replay_of
from upnext.cli.pipeline.lists import ranker_lists
from upnext.cli.pipeline.plan import SplitName, split_of
from upnext.cli.pipeline.ranker_labels import may_be_known
from upnext.features.spec import FeatureSpec
from upnext.features.tree_inputs import plain_columns, tree_column_names
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records
from upnext.models.ranker_config import LABELLED_TASKS
from upnext.models.ranker_lists import RankerLists
from upnext.release.release import Release
from upnext.settings import Settings


def write_inputs(
    release: Release, records: Records, event_log: EventLog, settings: Settings, path: Path, most: int, step: Step
) -> int:
    """Writes the lists that the release's own ranker learns from into an .npz file; how many.

    Made anew, by the release's own retrieval and features, from the part of the log that was the ranker's.
    """
    with step("reading the log"):
        subject = open_subject(release, records, event_log, settings)
    with step("ranker lists") as progress:
        lists = _lists(subject, settings, most, progress)
    spec = subject.live.funnel.assembler.spec
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays_of(lists, spec))
    return len(lists)


def arrays_of(lists: RankerLists, spec: FeatureSpec) -> dict[str, npt.NDArray[Any]]:
    """The arrays by name; see docs/bring_your_own.md."""
    return {
        "user": lists.user,
        "item": lists.item_inputs,
        "rows": lists.rows,
        "cross": lists.cross,
        "target": lists.target,
        "tasks": lists.labels(),
        "user_names": np.array(spec.user),
        "item_names": np.array(spec.item),
        "cross_names": np.array(spec.cross),
        "task_names": np.array(LABELLED_TASKS),
        "tree_user": np.array(plain_columns(spec.user)),
        "tree_item": np.array(plain_columns(spec.item)),
        "tree_names": np.array(tree_column_names(spec)),
    }


def _lists(subject: Subject, settings: Settings, most: int, progress: Progress) -> RankerLists:
    facts, world = subject.facts, subject.world
    name = msgspec.convert(facts["split"], SplitName)
    split = split_of(world.columns, name, hold_out=bool(facts["hold_out"]), cut_ms=cut_ms_of(subject))
    users = np.unique(world.columns.user[split.ranker]).astype(np.int32)
    replay = replay_of(subject, split.train, users, settings)
    known, seed = may_be_known(world.columns, split), msgspec.convert(facts["seed"], int)
    return ranker_lists(world, replay, split.ranker, known, most, seed, progress)[0]
