"""What a release's ranker learns from, as plain arrays in a file, for models trained outside."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.encoders import Step, described, session_rows, user_rows
from upnext.cli.pipeline.evaluation import Progress, Subject, cut_ms_of, open_subject, replay_of
from upnext.cli.pipeline.indexes import extend_indexes
from upnext.cli.pipeline.lists import ranker_lists
from upnext.cli.pipeline.plan import SplitName, split_of
from upnext.cli.pipeline.ranker_labels import may_be_known
from upnext.clock import SystemClock
from upnext.features.session_stepper import GraphStepper
from upnext.features.spec import FeatureSpec
from upnext.features.tree_inputs import plain_columns, tree_column_names
from upnext.funnel.funnel import Funnel
from upnext.funnel.live import input_tables
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records
from upnext.models.ranker_config import LABELLED_TASKS
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.training.splits import Mask


def write_inputs(
    release: Release, records: Records, event_log: EventLog, settings: Settings, path: Path, most: int, step: Step
) -> int:
    """Writes the lists that the release's own ranker learns from into an .npz file; how many.

    Made anew, by the release's own retrieval and features, from the part of the log that was the ranker's.
    """
    with step("reading the log"):
        subject = open_subject(release, records, event_log, settings)
    with step("ranker lists") as progress:
        lists = _lists(subject, release, settings, most, progress)
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


def _before_newest(subject: Subject, release: Release, train: Mask, settings: Settings) -> Subject:
    """The release as its own ranker knew it: without what it learnt last, namely the items first met in the lists."""
    live, world, facts = subject.live, subject.world, subject.facts
    parts, learnt = live.funnel, np.isin(np.arange(world.catalog.n_items), world.columns.item[train])
    session, user = parts.vectors.session, parts.vectors.user
    assert session is not None
    assert user is not None
    newest = ~learnt & session[:, :-1].any(axis=1)
    if not newest.any():
        return subject
    known_of = described(subject.two_tower.side.numpy())
    vectors = replace(
        parts.vectors,
        session=session_rows(np.array(session), learnt),
        user=user_rows(np.array(user), subject.two_tower, learnt, known_of),
    )
    indexes = extend_indexes(parts.indexes, parts.vectors, vectors, {}, settings.retrieval, 0).indexes
    funnel = Funnel(
        parts.catalog, vectors, replace(indexes, neighbours=parts.indexes.neighbours), parts.crowd, parts.ranker,
        parts.settings, SystemClock(), chosen=parts.assembler.chosen,
    )  # fmt: skip
    assert vectors.session is not None
    graph, tables = open_session(release.path("session_step")), input_tables(release)
    stepper = GraphStepper(graph, vectors.session, world.catalog, str(facts["encoders"]), tables)
    return replace(subject, live=replace(live, funnel=funnel, stepper=stepper))


def _lists(subject: Subject, release: Release, settings: Settings, most: int, progress: Progress) -> RankerLists:
    facts, world = subject.facts, subject.world
    name = msgspec.convert(facts["split"], SplitName)
    split = split_of(world.columns, name, hold_out=bool(facts["hold_out"]), cut_ms=cut_ms_of(subject))
    users = np.unique(world.columns.user[split.ranker]).astype(np.int32)
    replay = replay_of(_before_newest(subject, release, split.train, settings), split.train, users, settings)
    known, seed = may_be_known(world.columns, split), msgspec.convert(facts["seed"], int)
    return ranker_lists(world, replay, split.ranker, known, most, seed, progress)[0]
