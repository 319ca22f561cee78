"""The release that an update goes on from, in the rows of a world that has grown; learns nothing."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import torch

from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.encoders import tower_names
from upnext.cli.pipeline.plan import TrainSettings
from upnext.cli.pipeline.world import World
from upnext.clock import SystemClock
from upnext.compress.kept import PART, KeptRanker, read_kept
from upnext.compress.step_choice import ChosenStep, StepParity
from upnext.domain.event import Item
from upnext.domain.identity import keys_of
from upnext.errors import TrainingError
from upnext.funnel.live import Live, open_live
from upnext.models.session import SessionConfig, session_encoder
from upnext.models.session_encoder import SessionEncoder
from upnext.models.tower_inputs import TowerInputs, tower_inputs
from upnext.models.two_tower import TwoTower, TwoTowerConfig
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.training.checkpoint import read_checkpoint
from upnext.training.merge_weights import MergeWeights
from upnext.training.session_loop import load_session
from upnext.training.splits import MIN_INTERACTIONS, Mask, interactions

_SHAPES = {
    "session": ("kind", "embedding_size", "n_blocks", "state_expansion", "extra_actions"),
    "two_tower": ("embedding_size", "hidden_size", "half_lives", "history_length"),
    "ranker": ("kind", "first_width", "hidden", "exits"),
}


@dataclass(frozen=True)
class UpdateBase:
    """A release opened to be trained further. `world` has its items in their rows, and new ones behind."""

    release: Release
    live: Live
    facts: dict[str, Any]
    world: World
    session: SessionEncoder
    ranker: KeptRanker

    @property
    def n_items(self) -> int:
        """Items of the release."""
        return self.live.funnel.catalog.n_items

    @property
    def log_sequence(self) -> int:
        """The last event that the release may have learnt from."""
        return int(self.facts["log_sequence"])


def open_base(release: Release, world: World, settings: Settings, train: TrainSettings) -> UpdateBase:
    """Raises `TrainingError` where only a new training helps, and says why."""
    facts = dict(release.json("facts"))
    if facts.get("session_step") == "own graph":
        raise _train_anew(release, "it has a session step of somebody's own, which cannot be trained further")
    for part in ("encoder.session", "encoder.two_tower", PART):
        if part not in release:
            raise _train_anew(release, f"it does not hold what it was trained as ({part})")
    live = open_live(release, settings, SystemClock(), spare_rows=False)
    session = load_session(release.path("encoder.session"))
    ranker = read_kept(release.path(PART))
    found = {
        "session": session.config,
        "two_tower": msgspec.convert(facts["two_tower"], TwoTowerConfig),
        "ranker": ranker.models[1.0].config,
    }
    for group, names in _SHAPES.items():
        for name in names:
            was, wanted = getattr(found[group], name), getattr(getattr(train, group), name)
            if was != wanted:
                raise _train_anew(release, f"it was trained with {group}.{name} = {was!r}, and {wanted!r} is asked")
    return UpdateBase(release, live, facts, in_rows_behind(world, live.funnel.catalog), session, ranker)


def in_rows_behind(world: World, catalog: Catalog) -> World:
    """The world in the rows of `catalog`, new items behind; those that were deleted stay, and may not leave."""
    rows = catalog.rows_of(keys_of(world.columns.items))
    new = np.flatnonzero(rows < 0)
    rows[new] = catalog.n_items + np.arange(len(new))
    by_id = {item.item_id: item for item in world.items}
    ids = [catalog.ids[row] for row in range(catalog.n_items)]
    items = [by_id.get(item_id) or Item(item_id=item_id, available=False) for item_id in ids]
    items += [world.items[at] for at in new.tolist()]
    item = np.append(rows, np.int32(-1))[world.columns.item].astype(np.int32)
    columns = replace(world.columns, item=item, items=[each.item_id for each in items])
    return replace(world, columns=columns, catalog=Catalog.build(items), items=items)


def learnt_before(base: UpdateBase) -> Mask:
    """(n_events,) bool: events of the world that the release learnt from, without what it held out."""
    columns, facts = base.world.columns, base.facts
    within: Mask = columns.seq <= base.log_sequence
    if not facts["hold_out"]:
        return within
    if facts["split"] == "time":
        return within & (columns.timestamp_ms < int(facts["cut_ms"]))
    events = np.flatnonzero(interactions(columns) & within)
    last = np.full(base.world.n_users, -1)
    last[columns.user[events]] = events  # in order of time: the last one stays
    n_of_user = np.bincount(columns.user[events], minlength=base.world.n_users)
    within[last[n_of_user >= MIN_INTERACTIONS]] = False
    return within


def extended_session(base: UpdateBase) -> SessionEncoder:
    """The encoder with zero rows for new items."""
    state, n_items = base.session.state_dict(), base.world.catalog.n_items
    config: SessionConfig = base.session.config
    encoder = session_encoder(n_items, config)
    for name in ("embedding.weight", "bias"):
        state[name] = _with_rows(state[name], n_items)
    encoder.load_state_dict(state)
    return encoder.eval()


def extended_two_tower(base: UpdateBase, content: Any) -> tuple[TwoTower, TowerInputs]:
    """The model with zero rows for new items and users, which it does not count as learnt. Raises `TrainingError`."""
    release, world = base.release, base.world
    path = release.path("encoder.two_tower")
    record = read_checkpoint(path, None)
    if record is None:
        raise _train_anew(release, f"{path} is missing")
    state = record["model"]
    before = world.columns.user[world.columns.seq <= base.log_sequence]
    n_before = int(before.max(initial=-1)) + 1  # users are numbered as the log first names them
    names = tower_names(release) or tower_inputs(world.items[: base.n_items], world.users[:n_before]).names
    inputs = tower_inputs(world.items, world.users, content, names)
    if len(state["user_tower.identity.weight"]) != n_before:
        raise _train_anew(release, "the log has other users up to its last event than it was trained with")
    for name, n in (
        ("item_tower.identity.weight", inputs.n_items),
        ("user_tower.history.weight", inputs.n_items),
        ("user_tower.identity.weight", inputs.n_users),
        ("learnt", inputs.n_items),
    ):
        state[name] = _with_rows(state[name], n)
    model = TwoTower(inputs, msgspec.convert(base.facts["two_tower"], TwoTowerConfig))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise _train_anew(release, "its two-tower model reads other attributes than the records have") from error
    return model.eval(), inputs


def step_of(release: Release) -> ChosenStep:
    """The session step of a release, as it is served."""
    report = release.manifest.reports.get("session_step", {})
    trials = msgspec.convert(report.get("trials", []), list[StepParity])
    return ChosenStep(release.path("session_step").read_bytes(), str(report.get("precision", "float32")), trials)


def merge_of(release: Release) -> MergeWeights | None:
    """What its sources count for; None where that was not learnt."""
    report = release.manifest.reports.get("merge")
    return None if report is None else msgspec.convert(report, MergeWeights)


def _with_rows(table: torch.Tensor, n: int) -> torch.Tensor:
    return torch.cat([table, table.new_zeros(n - len(table), *table.shape[1:])])


def _train_anew(release: Release, why: str) -> TrainingError:
    return TrainingError(
        f"release {release.id} cannot be updated: {why}; train anew with `upnext train`, or name another with --release"
    )
