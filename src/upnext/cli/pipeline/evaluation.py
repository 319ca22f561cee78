"""A release evaluated on what it was trained without: its own parts, the funnel that serves, and the baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.encoders import load_two_tower, tower_names
from upnext.cli.pipeline.plan import SplitName, check_held_out, split_of
from upnext.cli.pipeline.rehearsal import crowd_of, histories_at
from upnext.cli.pipeline.systems import RankOne, ReplayStream, funnel_systems, session_system
from upnext.cli.pipeline.world import World, load_world
from upnext.clock import SystemClock
from upnext.domain.event import Item
from upnext.domain.identity import keys_of
from upnext.errors import TrainingError
from upnext.funnel.funnel import Funnel
from upnext.funnel.live import Live, open_live
from upnext.funnel.replay import Replay
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records
from upnext.models.session_encoder import SessionEncoder
from upnext.models.tower_inputs import tower_inputs
from upnext.models.two_tower import TwoTower, TwoTowerConfig
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.training.baselines import all_baselines
from upnext.training.evaluate import Answered, System, ask
from upnext.training.measured import Measured, measure
from upnext.training.session_knn import VmisKnn
from upnext.training.session_loop import load_session
from upnext.training.splits import Mask, Split, cases_at, interactions
from upnext.training.stream import StreamSystem, sessions_ending_in
from upnext.training.stream import replay as replay_stream
from upnext.training.stream_counts import Popular60Min, StreamCovisit

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Subject:
    """What is evaluated: an opened release with the encoders it was made with, over the world it came from."""

    world: World
    live: Live
    session: SessionEncoder
    two_tower: TwoTower
    facts: dict[str, object]


def open_subject(release: Release, records: Records, event_log: EventLog, settings: Settings) -> Subject:
    """Opens a release for evaluation over the log in `event_log`, in the release's own rows."""
    facts = release.json("facts")
    if facts.get("session_step") == "own graph":
        raise TrainingError(
            f"release {release.id} has a session step of somebody's own, and no encoder to read whole histories like "
            f"it; evaluate {release.manifest.parent}, onto which it was grafted"
        )
    live = open_live(release, settings, SystemClock(), spare_rows=False)
    world = load_world(event_log, records, contexts=settings.trends.contexts, until_sequence=facts["log_sequence"])
    world = _in_rows_of(world, live.funnel.catalog)
    session = load_session(release.path("encoder.session"))
    content = live.funnel.vectors.content
    config = msgspec.convert(facts["two_tower"], TwoTowerConfig)
    two_tower = load_two_tower(
        release.path("encoder.two_tower"),
        tower_inputs(world.items, world.users, content, tower_names(release)),
        config,
    )
    return Subject(world, live, session, two_tower, facts)


def evaluate_split(subject: Subject, name: SplitName, settings: Settings, seed: int, progress: Progress) -> Measured:
    """Figures of every system on a split by users. Raises `TrainingError` when the release may know the answers."""
    visible = _split_of(subject, name)[1]
    answered = answer_split(subject, name, settings, progress, all_baselines(subject.world.columns, visible, seed=seed))
    return measure(answered, _item_counts(subject.world, visible), seed=seed)


def answer_split(
    subject: Subject, name: SplitName, settings: Settings, progress: Progress, baselines: Sequence[System] = ()
) -> Answered:
    """Where the baselines and every part of the release put the right item of each case. Raises as `evaluate_split`."""
    world, (split, visible) = subject.world, _split_of(subject, name)
    cases = cases_at(world.columns, split.case_events, drop_seen=settings.reranking.drop_seen)
    replay = replay_of(subject, visible, np.unique(split.case_users), settings)
    systems = [*baselines, session_system(subject.session, subject.live.funnel.vectors), *funnel_systems(replay)]
    return ask(systems, cases, world.catalog.n_items, progress=progress)


def evaluate_stream(
    subject: Subject, event_log: EventLog, settings: Settings, ending: str, seed: int, progress: Progress
) -> Measured:
    """Click by click over all that was held out, for sessions whose id ends in `ending`.

    Raises `TrainingError` when the release was trained on that period.
    """
    columns = subject.world.columns
    counters: list[StreamSystem] = [Popular60Min(columns), StreamCovisit(columns), VmisKnn(columns)]
    answered = answer_stream(subject, event_log, settings, ending, progress, counters)
    before = interactions(columns) & (columns.timestamp_ms < cut_ms_of(subject))
    return measure(answered, _item_counts(subject.world, before), seed=seed)


def answer_stream(
    subject: Subject, event_log: EventLog, settings: Settings, ending: str, progress: Progress,
    counters: Sequence[StreamSystem] = (),
) -> Answered:  # fmt: skip
    """Where the counters and every stage of the funnel put each click. Raises as `evaluate_stream`."""
    check_held_out(subject.facts, "time")
    world = subject.world
    columns, chosen = world.columns, interactions(world.columns)
    cut_ms = cut_ms_of(subject)
    sampled = sessions_ending_in(event_log.scan(), columns, ending)
    late = chosen & (columns.timestamp_ms >= cut_ms)
    users = np.unique(columns.user[late & sampled]).astype(np.int32)
    tracked = np.isin(columns.user, users)
    before: Mask = chosen & ~late
    stages: list[tuple[str, Callable[[Replay], RankOne]]] = [
        ("retrieval", lambda replay: replay.retrieved),
        ("ranked", lambda replay: replay.ranked),
        ("funnel", lambda replay: replay.slate),
    ]
    streams = []
    for name, stage in stages:
        replay = replay_of(subject, before, users, settings)  # a world each: every one is moved by its own replay
        streams.append(ReplayStream(name, columns, replay, stage(replay), tracked))
    return replay_stream(columns, cut_ms, sampled, [*counters, *streams], progress=progress)


def _split_of(subject: Subject, name: SplitName) -> tuple[Split, Mask]:
    """The split that the release was trained for, and all of it that the release may know."""
    check_held_out(subject.facts, name)
    split = split_of(subject.world.columns, name, hold_out=True, cut_ms=cut_ms_of(subject))
    return split, split.train | split.ranker


def _item_counts(world: World, mask: Mask) -> npt.NDArray[np.int64]:
    """Events of `mask` about each item, (n_items,)."""
    return np.bincount(world.columns.item[mask], minlength=world.catalog.n_items)


def cut_ms_of(subject: Subject) -> int:
    """Where a split by time cuts the log for this release."""
    return msgspec.convert(subject.facts["cut_ms"], int)


def replay_of(
    subject: Subject, visible: Mask, users: npt.NDArray[np.int32], settings: Settings,
    shadow_interactions: int | None = None,
) -> Replay:  # fmt: skip
    """A replay of the release's funnel whose world ends with the events of `visible`.

    `shadow_interactions` takes the place of the setting of that name.
    """
    live, crowd = subject.live, crowd_of(subject.world, visible, settings)
    parts = live.funnel
    chosen = parts.assembler.chosen
    retrieval = parts.settings.retrieval  # with the weights it has learnt
    if shadow_interactions is not None:
        retrieval = msgspec.structs.replace(retrieval, shadow_interactions=shadow_interactions)
    settings = msgspec.structs.replace(settings, retrieval=retrieval)
    funnel = Funnel(
        parts.catalog, parts.vectors, parts.indexes, crowd, parts.ranker, settings, SystemClock(), chosen=chosen
    )
    replay = Replay(funnel, live.stepper, subject.world.visitors, settings.state)
    replay.begin(histories_at(subject.world, visible, users.astype(np.int32), subject.session, subject.two_tower))
    return replay


def _in_rows_of(world: World, catalog: Catalog) -> World:
    """The world in the rows of a release's catalogue: without items posted since, with bare ones for those deleted.

    Raises `TrainingError` where the release does not know an item of the events it was made of.
    """
    rows = catalog.rows_of(keys_of(world.columns.items))
    unknown = rows < 0
    named = np.unique(world.columns.item[world.columns.item >= 0])
    if unknown[named].any():
        missing = world.columns.items[int(named[unknown[named]][0])]
        raise TrainingError(
            f"the log has items that the release does not know, {missing!r} among them; train a new release first"
        )
    ids = [catalog.ids[row] for row in range(catalog.n_items)]
    by_id = {item.item_id: item for item in world.items}
    columns = replace(world.columns, item=np.append(rows, np.int32(-1))[world.columns.item], items=ids)
    items = [by_id.get(item_id) or Item(item_id=item_id) for item_id in ids]
    return replace(world, columns=columns, catalog=catalog, items=items)
