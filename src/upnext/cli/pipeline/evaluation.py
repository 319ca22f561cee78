"""A release evaluated on what it was trained without: its own parts, the funnel that serves, and the baselines."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.encoders import load_two_tower
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
from upnext.training.evaluate import Figures, evaluate
from upnext.training.session_loop import load_session
from upnext.training.splits import Mask, cases_at, interactions
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
    live = open_live(release, settings, SystemClock(), spare_rows=False)
    facts = release.json("facts")
    world = load_world(event_log, records, until_sequence=facts["log_sequence"])
    world = _in_rows_of(world, live.funnel.catalog)
    session = load_session(release.path("encoder.session"))
    content = live.funnel.vectors.content
    config = msgspec.convert(facts["two_tower"], TwoTowerConfig)
    two_tower = load_two_tower(
        release.path("encoder.two_tower"), tower_inputs(world.items, world.users, content), config
    )
    return Subject(world, live, session, two_tower, facts)


def evaluate_split(
    subject: Subject, name: SplitName, settings: Settings, seed: int, progress: Progress
) -> dict[str, Figures]:
    """Figures of every system on a split by users. Raises `TrainingError` when the release may know the answers."""
    check_held_out(subject.facts, name)
    world = subject.world
    split = split_of(world.columns, name, hold_out=True, cut_ms=_cut_ms(subject))
    visible: Mask = split.train | split.ranker
    cases = cases_at(world.columns, split.case_events, drop_seen=settings.reranking.drop_seen)
    replay = _replay(subject, visible, np.unique(split.case_users), settings)
    systems = [
        *all_baselines(world.columns, visible, seed=seed),
        session_system(subject.session, subject.live.funnel.vectors),
        *funnel_systems(replay),
    ]
    return evaluate(systems, cases, world.catalog.n_items, progress=progress)


def evaluate_stream(
    subject: Subject, event_log: EventLog, settings: Settings, ending: str, progress: Progress
) -> dict[str, Figures]:
    """Click by click over all that was held out, for sessions whose id ends in `ending`.

    Raises `TrainingError` when the release was trained on that period.
    """
    check_held_out(subject.facts, "time")
    world = subject.world
    columns, chosen = world.columns, interactions(world.columns)
    cut_ms = _cut_ms(subject)
    sampled = sessions_ending_in(event_log.scan(), columns, ending)
    late = chosen & (columns.timestamp_ms >= cut_ms)
    tracked = np.isin(columns.user, np.unique(columns.user[late & sampled]))
    users = np.unique(columns.user[late & sampled]).astype(np.int32)
    before: Mask = chosen & ~late
    stages: list[tuple[str, Callable[[Replay], RankOne]]] = [
        ("retrieval", lambda replay: replay.retrieved),
        ("ranked", lambda replay: replay.ranked),
        ("funnel", lambda replay: replay.slate),
    ]
    streams = []
    for name, stage in stages:
        replay = _replay(subject, before, users, settings)  # a world each: every one is moved by its own replay
        streams.append(ReplayStream(name, columns, replay, stage(replay), tracked))
    systems: list[StreamSystem] = [Popular60Min(columns), StreamCovisit(columns), *streams]
    return replay_stream(columns, cut_ms, sampled, systems, progress=progress)


def _cut_ms(subject: Subject) -> int:
    return msgspec.convert(subject.facts["cut_ms"], int)


def _replay(subject: Subject, visible: Mask, users: npt.NDArray[np.int32], settings: Settings) -> Replay:
    """A replay of the release's funnel whose world ends with the events of `visible`."""
    live, crowd = subject.live, crowd_of(subject.world, visible, settings)
    parts = live.funnel
    funnel = Funnel(parts.catalog, parts.vectors, parts.indexes, crowd, parts.ranker, settings, SystemClock())
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
