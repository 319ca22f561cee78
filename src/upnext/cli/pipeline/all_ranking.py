"""A release asked for the items of a test file, by the all-ranking protocol for implicit feedback."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.encoders import histories_of
from upnext.cli.pipeline.evaluation import Progress, Subject, replay_of
from upnext.cli.pipeline.systems import funnel_systems, session_system
from upnext.cli.pipeline.world import World
from upnext.domain.identity import keys_of, subject_of
from upnext.errors import DataError
from upnext.models.linear import NeighbourLists
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.training.all_ranking import all_ranking
from upnext.training.baselines import Scored, ials, item_knn, popular
from upnext.training.evaluate import System
from upnext.training.linear_models import user_items_of
from upnext.training.measured import Measured
from upnext.training.sequences import Sequences
from upnext.training.splits import Cases, interactions

Floats = npt.NDArray[np.float32]


def evaluate_test_file(
    subject: Subject, release: Release, wanted: Mapping[str, Sequence[str]], settings: Settings, seed: int,
    progress: Progress,
) -> Measured:  # fmt: skip
    """Recall@20 and NDCG@20 of baselines and every part of the release; all that is in the log is training.

    `wanted` has the items to find by user id. Users whom the log does not know are left out; items it does not know
    count as missed. Raises DataError when no user is left.
    """
    world = subject.world
    visible = interactions(world.columns)
    cases, items = _cases(world, visible, wanted)
    replay = replay_of(subject, visible, np.unique(cases.users), settings)
    systems = [
        popular(world.columns, visible),
        item_knn(world.columns, visible),
        ials(world.columns, visible, seed=seed),
        *neighbour_systems(release, world.catalog.n_items),
        two_tower_system(subject),
        session_system(subject.session, subject.live.funnel.vectors),
        *funnel_systems(replay),
    ]
    return all_ranking(systems, cases, items, world.catalog.n_items, seed=seed, progress=progress)


def neighbour_systems(release: Release, n_items: int) -> list[System]:
    """The neighbour lists of a release over whole histories; none where it has no such lists."""
    if "neighbours.rows" not in release.manifest.parts:
        return []
    lists = NeighbourLists(release.array("neighbours.rows")[:n_items], release.array("neighbours.weights")[:n_items])

    def score(cases: Cases) -> Floats:
        owner = np.repeat(np.arange(len(cases)), cases.histories.lengths)
        return lists.scores(user_items_of(owner, cases.histories.items, (len(cases), n_items)))

    return [Scored("neighbours", score)]


def two_tower_system(subject: Subject) -> System:
    """The two-tower model alone, scored exactly over the whole catalogue."""

    def score(cases: Cases) -> Floats:
        vectors = subject.live.funnel.vectors.user
        assert vectors is not None
        scores: Floats = subject.two_tower.user_vectors(cases.histories, cases.users) @ vectors.T
        return scores

    return Scored("two-tower", score)


def _cases(
    world: World, visible: npt.NDArray[np.bool_], wanted: Mapping[str, Sequence[str]]
) -> tuple[Cases, Sequences]:
    """One case per user with items to find, and those items; an item that the world lacks has the row n_items."""
    user_row = {subject: row for row, subject in enumerate(world.columns.users)}
    asked = {subject_of(user_id, None) or "": items for user_id, items in wanted.items()}
    asked = {subject: items for subject, items in asked.items() if subject in user_row and items}
    if not asked:
        raise DataError("none of the users in the test file is in the log; import the training part of the same data")
    users = np.array([user_row[subject] for subject in asked], np.int32)
    lengths = [len(items) for items in asked.values()]
    rows = world.catalog.rows_of(keys_of([item for items in asked.values() for item in items]))
    rows = np.where(rows < 0, world.catalog.n_items, rows)
    items = Sequences.from_events(np.repeat(np.arange(len(users)), lengths), rows, len(users))
    now_ms = np.full(len(users), int(world.columns.timestamp_ms.max()), np.int64)
    nothing = np.full(len(users), -1, np.int32)
    return Cases(users, histories_of(world, visible).take(users), now_ms, nothing, drop_seen=True), items
