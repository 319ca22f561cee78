"""What trained encoders say just before recorded choices; trains nothing."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from upnext.models.session_encoder import SessionEncoder
from upnext.models.two_tower import TwoTower
from upnext.training.item_update import Choices
from upnext.training.sequences import PADDING, Sequences, plan_batches

Indices = npt.NDArray[np.int64]
_BATCH_EVENTS = 32_768


def session_choices(encoder: SessionEncoder, histories: Sequences, history_length: int) -> Choices:
    """Of the `targets` of `histories`: session vectors with a 1 behind, for item vectors with their bias behind.

    At most the newest `history_length` events of a history are read.
    """
    codes = encoder.tables.codes(histories)

    def read(users: Indices, places: Indices) -> Tensor:
        valid = places >= 0
        items = torch.from_numpy(np.where(valid, histories.items[places], PADDING)).long()
        vectors: Tensor = encoder(items, None if codes is None else torch.from_numpy(codes[:, places]).long())
        return vectors

    found = _choices(histories, history_length, encoder.config.embedding_size, read)
    ones = np.ones((len(found), 1), np.float32)
    return Choices(np.hstack([found.queries, ones]), found.targets)


def two_tower_choices(model: TwoTower, histories: Sequences, users: npt.NDArray[np.int32]) -> Choices:
    """Of the `targets` of `histories`, one per user of `users`: user vectors."""

    def read(numbers: Indices, places: Indices) -> Tensor:
        items = np.where(places >= 0, histories.items[places], PADDING).astype(np.int64)
        vectors: Tensor = model(torch.from_numpy(users[numbers].astype(np.int64)), torch.from_numpy(items))
        return vectors[:, 1:]

    return _choices(histories, model.config.history_length, model.config.embedding_size, read)


@torch.no_grad()
def _choices(
    histories: Sequences, history_length: int, dim: int, read: Callable[[Indices, Indices], Tensor]
) -> Choices:
    """`read` gives vectors (n, L, dim) after each of the events at `places` (n, L) of histories `users` (n,)."""
    wanted = np.ones(len(histories.items), np.bool_) if histories.targets is None else histories.targets
    queries, targets = [np.zeros((0, dim), np.float32)], [np.zeros(0, np.int64)]
    for users, places in _batches(histories, history_length):
        after = np.where(places >= 0, places + 1, 0)
        asked = (places >= 0) & wanted[after]
        if asked.any():
            queries.append(read(users, places)[torch.from_numpy(asked)].float().numpy())
            targets.append(histories.items[after[asked]].astype(np.int64))
    return Choices(np.concatenate(queries), np.concatenate(targets))


def _batches(histories: Sequences, history_length: int) -> Iterator[tuple[Indices, Indices]]:
    """Users, and the places of all but the newest of the events that count, padded on the right."""
    lengths = np.minimum(np.maximum(histories.lengths - 1, 0), history_length)
    starts = histories.offsets[1:] - 1 - lengths
    some = np.flatnonzero(lengths)
    for batch in plan_batches(lengths[some], _BATCH_EVENTS, None):
        users = some[batch]
        places = np.arange(int(lengths[users].max()))
        yield users, np.where(places < lengths[users, None], starts[users, None] + places, PADDING)
