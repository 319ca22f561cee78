"""The funnel that is going to serve, put together in memory before there is a release: for lists and evaluation."""

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.encoders import histories_of
from upnext.cli.pipeline.world import World
from upnext.clock import SystemClock
from upnext.features.assemble import Assembler
from upnext.features.item_vectors import ItemVectors
from upnext.features.session_stepper import GraphStepper
from upnext.features.spec import Chosen, FeatureSpec
from upnext.funnel.funnel import Funnel
from upnext.funnel.ranking.ranker import Ranker
from upnext.funnel.replay import Histories, Replay
from upnext.funnel.retrieval.sources import Indexes
from upnext.models.session_encoder import SessionEncoder
from upnext.models.two_tower import TwoTower
from upnext.settings import Settings
from upnext.state.crowd import Crowd
from upnext.training.splits import Mask


def crowd_of(world: World, mask: Mask, settings: Settings) -> Crowd:
    """A crowd that has seen exactly the events of `mask`."""
    crowd, columns = Crowd(world.catalog.n_items, settings), world.columns
    crowd.observe_history(
        world.visitors[columns.user[mask]], columns.session[mask], columns.item[mask], columns.timestamp_ms[mask],
        *((columns.context[mask], columns.context_keys) if columns.context.size else ()),
    )  # fmt: skip
    return crowd


def item_inputs(catalog: Catalog, vectors: ItemVectors, crowd: Crowd, spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """(n_items, n_item_features): the ranker's side of items, as they are in the eyes of `crowd`."""
    return Assembler(catalog, vectors, spec.chosen()).items(crowd.trends)


def histories_at(
    world: World, mask: Mask, users: npt.NDArray[np.int32], session: SessionEncoder,
    two_tower: TwoTower,
) -> Histories:  # fmt: skip
    """Where everybody stands after the events of `mask`, with vectors for `users` (distinct)."""
    columns = world.columns
    histories = histories_of(world, mask)
    order = np.flatnonzero(mask)[np.argsort(columns.user[mask], kind="stable")]
    slots = np.full(world.n_users, -1, np.int32)
    slots[users] = np.arange(len(users), dtype=np.int32)
    chosen = histories.take(users)
    session_vectors, hidden = session.encode(chosen)
    user_vectors = two_tower.user_vectors(chosen, users)
    return Histories(
        histories.offsets, histories.items, columns.timestamp_ms[order], slots, session_vectors, hidden, user_vectors
    )


def rehearse(
    world: World,
    vectors: ItemVectors,
    indexes: Indexes,
    crowd: Crowd,
    ranker: Ranker | None,
    stepper: GraphStepper | None,
    settings: Settings,
    chosen: Chosen | None = None,
) -> Replay:
    """A replay over these parts; `chosen`: the engineered inputs of the ranker."""
    funnel = Funnel(world.catalog, vectors, indexes, crowd, ranker, settings, SystemClock(), chosen=chosen)
    return Replay(funnel, stepper, world.visitors, settings.state)
