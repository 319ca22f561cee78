"""Step one: the models that make vectors, trained on the part of the log that is theirs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.plan import TrainSettings
from upnext.cli.pipeline.world import World
from upnext.domain.event import ACTION_CODE
from upnext.errors import TrainingError
from upnext.features.item_vectors import ItemVectors
from upnext.models.content import ContentModel, fit_content
from upnext.models.linear import NeighbourLists
from upnext.models.session_encoder import SessionEncoder
from upnext.models.tower_inputs import TowerInputs, TowerNames, tower_inputs
from upnext.models.two_tower import TwoTower, TwoTowerConfig
from upnext.release.release import Release
from upnext.training.checkpoint import read_checkpoint
from upnext.training.linear_models import fit_linear, user_items_of
from upnext.training.sequences import Sequences
from upnext.training.session_loop import train_session
from upnext.training.splits import Mask
from upnext.training.two_tower_loop import train_two_tower

Floats = npt.NDArray[np.float32]
NAMES_PART = "encoder.two_tower_names"
Step = Callable[[str], AbstractContextManager[Callable[[int, int, str], None]]]  # as `Steps.step`


@dataclass(frozen=True)
class Encoders:
    """Trained models, their checkpoint files, and the item vectors they give."""

    session: SessionEncoder
    two_tower: TwoTower
    content: ContentModel | None
    neighbours: NeighbourLists | None
    session_file: Path
    two_tower_file: Path
    vectors: ItemVectors
    names: TowerNames | None = None  # of what the two-tower model reads


def train_encoders(world: World, train: Mask, settings: TrainSettings, folder: Path, seed: int, step: Step) -> Encoders:
    """Trains on the events of `train`; checkpoints in `folder`, from which an interrupted run goes on."""
    sequences = histories_of(world, train)
    n_items = world.catalog.n_items
    session_file, two_tower_file = folder / "session.pt", folder / "two_tower.pt"
    with step("content model"):
        content = fit_content(world.items, settings.content)
    with step("session encoder") as progress:
        read = session_histories(world, train, settings.session.extra_actions)
        session = train_session(read, n_items, settings.session, seed=seed, checkpoint=session_file, progress=progress)
    with step("two-tower") as progress:
        inputs = tower_inputs(world.items, world.users, content.vectors if content else None)
        two_tower = train_two_tower(
            sequences, inputs, settings.two_tower, seed=seed, checkpoint=two_tower_file, progress=progress
        )
    with step("linear model"):
        users = np.repeat(np.arange(world.n_users), sequences.lengths)
        neighbours = fit_linear(user_items_of(users, sequences.items, (world.n_users, n_items)), settings.linear)
    learnt = np.isin(np.arange(n_items), sequences.items)
    vectors = ItemVectors(
        session=session_table(session, learnt),
        user=user_table(two_tower, learnt, described=described(inputs.side)),
        content=content.vectors if content else None,
    )
    return Encoders(session, two_tower, content, neighbours, session_file, two_tower_file, vectors, inputs.names)


def load_two_tower(file: Path, inputs: TowerInputs, config: TwoTowerConfig) -> TwoTower:
    """The model of a checkpoint, in evaluation mode, over the inputs it was trained with."""
    record = read_checkpoint(file, None)
    if record is None:
        raise TrainingError(f"there is no checkpoint at {file}; train a new release")
    model = TwoTower(inputs, config)
    try:
        model.load_state_dict(record["model"])
    except RuntimeError as error:
        raise TrainingError(f"{file} does not fit the users and items of this home; train a new release") from error
    return model.eval()


def tower_names(release: Release) -> TowerNames | None:
    """What the columns that a release's two-tower model reads stand for; None for a release of before."""
    if NAMES_PART not in release:
        return None
    return msgspec.convert(release.json(NAMES_PART), TowerNames)


def session_histories(world: World, mask: Mask, extra_actions: tuple[str, ...]) -> Sequences:
    """`histories_of`, and events of other actions among them, to be read and not predicted.

    Of a user's those count that come before the last of the mask: what is held out is not told. Raises TrainingError
    for an action that does not exist.
    """
    columns = world.columns
    unknown = [action for action in extra_actions if action not in ACTION_CODE]
    if unknown:
        raise TrainingError(f"session.extra_actions names {', '.join(unknown)}, which is no action; take it out")
    last = np.full(world.n_users, -1)
    last[columns.user[mask]] = np.flatnonzero(mask)  # the columns are in order of time: the last one stays
    extra = np.isin(columns.action, [ACTION_CODE[action] for action in extra_actions]) & (columns.item >= 0) & ~mask
    extra &= np.arange(len(columns)) < last[columns.user]
    read = mask | extra
    return histories_of(world, read, targets=mask[read]) if extra.any() else histories_of(world, mask)


def histories_of(world: World, mask: Mask, targets: Mask | None = None) -> Sequences:
    """One history per user of the world, of the events in `mask`, with action, time and value of each.

    `targets` is of the events in `mask`, in their order; None: all are.
    """
    columns = world.columns
    return Sequences.from_events(
        columns.user[mask],
        columns.item[mask],
        world.n_users,
        actions=columns.action[mask],
        times_ms=columns.timestamp_ms[mask],
        values=columns.value[mask],
        **({} if targets is None else {"targets": targets}),
    )


def session_table(encoder: SessionEncoder, learnt: npt.NDArray[np.bool_]) -> Floats:
    """The encoder's item table; an item it has never met has no direction, and scores like the least liked one."""
    table = encoder.item_vectors()
    if not learnt.all():
        table[~learnt, :-1] = 0.0
        table[~learnt, -1] = table[learnt, -1].min()
    return table


def user_table(two_tower: TwoTower, learnt: npt.NDArray[np.bool_], described: npt.NDArray[np.bool_]) -> Floats:
    """The item tower's vectors; zero for an item that was never met and of which nothing is known."""
    table = two_tower.item_vectors()
    unmet = two_tower.cold_item_vectors(np.asarray(two_tower.side.cpu().numpy())) if not learnt.all() else table
    table[~learnt] = unmet[~learnt]
    table[~learnt & ~described] = 0.0
    return table


def described(side: Floats) -> npt.NDArray[np.bool_]:
    return np.isin(np.arange(len(side)), np.nonzero(side)[0])
