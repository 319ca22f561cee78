"""The encoders of a release with vectors for items that it had not met; all that it knew stays as it was.

Neither the recurrence nor any known item's vector moves, so the states that are stored of users stay true, and the
release that comes of it has the same encoders' name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from upnext.cli.pipeline.encoders import Encoders, described, histories_of, user_table
from upnext.cli.pipeline.plan import UpdateSettings
from upnext.cli.pipeline.update_base import UpdateBase, extended_session, extended_two_tower
from upnext.features.content_text import embed_text, words_of
from upnext.features.item_vectors import ItemVectors, Unlearnt
from upnext.models.content import ContentModel
from upnext.models.linear import NeighbourLists
from upnext.models.session_encoder import SessionEncoder
from upnext.models.two_tower import TwoTower
from upnext.training.checkpoint import write_checkpoint
from upnext.training.choices import session_choices, two_tower_choices
from upnext.training.item_update import from_company, learn_rows
from upnext.training.sequences import Sequences
from upnext.training.splits import Mask

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Lessons:
    """What vectors of new items come from."""

    company: Sequences  # histories of everybody with an event that teaches
    asked: Sequences  # of some of them, which are learnt to be foretold
    users: npt.NDArray[np.int32]  # whose the latter are


def updated_encoders(
    base: UpdateBase, visible: Mask, teaching: Mask, settings: UpdateSettings, seed: int, folder: Path
) -> Encoders:
    """Learns the items first met in `teaching`, events among `visible`; checkpoints are written into `folder`."""
    world, old = base.world, base.live.funnel.vectors
    assert old.session is not None
    assert old.user is not None
    newest = np.flatnonzero(teaching)[-settings.most_events :]
    taught = np.zeros(len(teaching), np.bool_)
    taught[newest] = True
    users = np.unique(world.columns.user[newest]).astype(np.int32)
    histories = histories_of(world, visible, targets=taught[visible]).take(users)
    met = np.unique(world.columns.item[newest]).astype(np.int64)
    some = _some(world.columns.user[newest], users, settings.most_choices, seed)
    lessons = _Lessons(histories, histories.take(some), users[some])
    content = _content(base)
    session, session_vectors = _session(base, lessons, met, old.session, settings, seed)
    vectors_of_content = None if content is None else content.vectors
    model, inputs = extended_two_tower(base, vectors_of_content)
    user_vectors = _two_tower(base, model, lessons, met, old.user, described(inputs.side), settings, seed)
    session_file, two_tower_file = folder / "session.pt", folder / "two_tower.pt"
    record = {
        "n_items": session.n_items,
        "config": msgspec.json.encode(session.config),
        "encoder": session.state_dict(),
    }
    write_checkpoint(session_file, "", record)
    write_checkpoint(two_tower_file, "", {"model": model.state_dict()})
    unlearnt = _unlearnt(base, model, met[_without_vector(base, met)], described(inputs.side))
    vectors = ItemVectors(session=session_vectors, user=user_vectors, content=vectors_of_content, unlearnt=unlearnt)
    return Encoders(
        session, model, content, _neighbours(base), session_file, two_tower_file, vectors, inputs.names
    )  # fmt: skip


def _session(
    base: UpdateBase, lessons: _Lessons, met: Rows, old: Floats, settings: UpdateSettings, seed: int
) -> tuple[SessionEncoder, Floats]:
    """The encoder, and its item table (n_items, D + 1) with zero vectors for items that nobody has chosen yet."""
    encoder = extended_session(base)
    table = _grown(old, base.world.catalog.n_items)
    table[len(old) :, -1] = old[:, -1].min()  # as of any item that was never met
    known: npt.NDArray[np.bool_] = np.any(table[:, :-1] != 0, axis=1)
    new = met[~known[met]]
    start, found = from_company(table, new, known, lessons.company, settings.window)
    table[new[found]] = start[found]
    _set(encoder, new, table)
    choices = session_choices(encoder, lessons.asked, encoder.config.history_length)
    table = learn_rows(
        table, new, choices, epochs=settings.item_epochs, learning_rate=settings.item_learning_rate, seed=seed
    )
    _set(encoder, new, table)
    return encoder, table


@torch.no_grad()
def _set(encoder: SessionEncoder, rows: Rows, table: Floats) -> None:
    encoder.embedding.weight[rows] = torch.from_numpy(table[rows, :-1])
    encoder.bias[rows] = torch.from_numpy(table[rows, -1])


@torch.no_grad()
def _two_tower(
    base: UpdateBase, model: TwoTower, lessons: _Lessons, met: Rows, old: Floats, known_of: npt.NDArray[np.bool_],
    settings: UpdateSettings, seed: int,
) -> Floats:  # fmt: skip
    """Item vectors (n_items, D) of the model, which learns the new items on the way."""
    learnt = model.learnt.numpy().copy()
    new = met[~learnt[met]]
    history = np.array(model.user_tower.history.weight.numpy())
    as_chosen, found = from_company(history, new, learnt, lessons.company, settings.window)
    told = new[found]
    model.user_tower.history.weight[told] = torch.from_numpy(as_chosen[found])
    model.learnt[told] = True
    table = user_table(model, learnt, described=known_of)
    table[: len(old)][learnt[: len(old)]] = old[learnt[: len(old)]]
    start, found = from_company(table, new, learnt, lessons.company, settings.window)
    table[new[found]] = start[found]
    with torch.enable_grad():
        table = learn_rows(
            table, new, two_tower_choices(model, lessons.asked, lessons.users), epochs=settings.item_epochs,
            learning_rate=settings.item_learning_rate, seed=seed,
        )  # fmt: skip
    of_attributes = model.cold_item_vectors(np.asarray(model.side.numpy())[new])
    model.item_tower.identity.weight[new] = torch.from_numpy(table[new] - of_attributes)
    untouched = np.ones(len(old), np.bool_)
    untouched[new[new < len(old)]] = False
    table[: len(old)][untouched] = old[untouched]
    return table


def _without_vector(base: UpdateBase, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which of `rows` (n,) the release has no session vector of."""
    session = base.live.funnel.vectors.session
    assert session is not None
    known: npt.NDArray[np.bool_] = np.any(_grown(session, base.world.catalog.n_items)[rows, :-1], axis=1)
    return ~known


@torch.no_grad()
def _unlearnt(base: UpdateBase, model: TwoTower, new: Rows, known_of: npt.NDArray[np.bool_]) -> Unlearnt | None:
    """The items whose vectors are `new`, and those of earlier updates, as the ranker knows their like."""
    old, before = base.live.funnel.vectors, base.live.funnel.vectors.unlearnt
    assert old.session is not None
    of_attributes = model.cold_item_vectors(np.asarray(model.side.numpy())[new])
    rows, user = new.astype(np.int32), np.where(known_of[new, None], of_attributes, 0.0).astype(np.float32)
    if before is not None:
        rows, user = np.concatenate([before.rows, rows]), np.concatenate([before.user, user])
    if not len(rows):
        return None
    rows, first = np.unique(rows, return_index=True)
    session = np.zeros(old.session.shape[1], np.float32)
    session[-1] = old.session[:, -1].min()  # as of any item that was never met
    return Unlearnt(rows, user[first], session)


def _some(
    users_of_events: npt.NDArray[np.int32], users: npt.NDArray[np.int32], most: int, seed: int
) -> npt.NDArray[np.intp]:
    """Places in `users` (distinct, sorted) of as many, drawn at random, as have `most` of the events; at least one."""
    order = np.random.default_rng([seed, 22]).permutation(len(users))
    n_events = np.bincount(np.searchsorted(users, users_of_events), minlength=len(users))[order]
    return np.sort(order[: max(1, int(np.searchsorted(np.cumsum(n_events), most, side="right")))])


def _content(base: UpdateBase) -> ContentModel | None:
    """The words that are known, and vectors of new items' texts by them."""
    old, text = base.live.funnel.vectors.content, base.live.text
    if old is None or text is None:
        return None
    new = [embed_text(text, words_of(item.title, item.genres, item.text)) for item in base.world.items[len(old) :]]
    return ContentModel(np.concatenate([old, np.array(new, np.float32).reshape(-1, old.shape[1])]), text)


def _neighbours(base: UpdateBase) -> NeighbourLists | None:
    """Those of the release; new items have none until the next training."""
    release, n_items = base.release, base.world.catalog.n_items
    if "neighbours.rows" not in release:
        return None
    rows, weights = (release.array(f"neighbours.{name}")[: base.n_items] for name in ("rows", "weights"))
    return NeighbourLists(_grown(rows, n_items, -1), _grown(weights, n_items))


def _grown(table: npt.NDArray[Any], n: int, fill: float = 0) -> npt.NDArray[Any]:
    rest = np.full((n - len(table), *table.shape[1:]), fill, table.dtype)
    return np.concatenate([table, rest])
