"""The two-tower model: one vector per item, one per user, likeness by inner product; how it learns is not its business.

After Covington et al. (RecSys 2016) and Yi et al. (RecSys 2019). Both towers can do without identities: items learn
with theirs dropped now and then, so a new item has a vector from its attributes, as what is offered and as part of a
history; a new user is read from history, or from attributes where there is none.
"""

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from upnext.models.dropout import Dropout
from upnext.models.session_encoder import Histories
from upnext.models.tower_inputs import TowerInputs

PADDING = -1


class TwoTowerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the two towers and of their training; a checkpoint belongs to exactly one such record."""

    # Length of user and item vectors, and of all embeddings inside.
    embedding_size: int = 64
    # Width of the user tower's hidden layer.
    hidden_size: int = 256
    # A user's history is averaged once per half-life, in events: an event this many events back weighs half. 0 is the
    # newest event alone.
    half_lives: tuple[float, ...] = (0.0, 2.0, 8.0, 32.0)
    # Newest events of a history that count.
    history_length: int = 150
    # Share of activations dropped in training, after the pooled history and inside the user tower.
    dropout: float = 0.2
    # Share of items (drawn per step) that learn without their identity: the price of vectors for new ones.
    item_id_dropout: float = 0.1
    # Share of users (drawn per window) that learn without their identity: it knows by heart what they chose.
    user_id_dropout: float = 0.5
    # Passes over all histories.
    epochs: int = 8
    # Peak of the one-cycle schedule.
    learning_rate: float = 4e-3
    # AdamW's decay of weight matrices; embeddings are not decayed.
    weight_decay: float = 0.01
    # Places (events and padding) per training step.
    batch_events: int = 16_384
    # Largest catalogue trained with the full softmax; above it negatives are sampled.
    full_softmax_items: int = 20_000
    # Negatives drawn per step and shared by all its targets, when sampling.
    n_negatives: int = 4_096
    # Share of the negatives drawn by popularity; the rest is uniform.
    popularity_share: float = 0.5
    # Share of the negatives drawn from hard ones: items that the model of the epoch before ranked high for users who
    # have not chosen them. Only where negatives are sampled; the full softmax has all of them already.
    hard_negatives: float = 0.2
    # Users looked at for hard negatives before each epoch but the first, and items taken from each.
    hard_users: int = 1_024
    hard_items: int = 100


class ItemTower(nn.Module):
    """Item vector = embedding of the identity + linear map of everything else; without identity the map alone."""

    def __init__(self, n_items: int, n_side: int, config: TwoTowerConfig) -> None:
        super().__init__()
        self.id_dropout = config.item_id_dropout
        self.identity = nn.Embedding(n_items, config.embedding_size)
        self.side = nn.Linear(n_side, config.embedding_size)
        nn.init.normal_(self.identity.weight, std=0.02)
        nn.init.normal_(self.side.weight, std=0.02)

    def forward(self, rows: Tensor, side: Tensor) -> Tensor:
        """Vectors (n, D) of item `rows` (n,) with `side` (n, n_side)."""
        identity = self.identity(rows)
        if self.training and self.id_dropout > 0:
            identity = identity * (torch.rand(len(rows), 1, device=rows.device) >= self.id_dropout)
        vectors: Tensor = identity + self.side(side)
        return vectors


class UserTower(nn.Module):
    """User vector after each event, from who the user is and from the history averaged at several half-lives."""

    def __init__(
        self, n_users: int, n_items: int, n_side: int, field_sizes: tuple[int, ...], config: TwoTowerConfig
    ) -> None:
        super().__init__()
        size = config.embedding_size
        self.half_lives, self.id_dropout = config.half_lives, config.user_id_dropout
        self.identity = nn.Embedding(n_users, size)
        self.attributes = nn.ModuleList(nn.Embedding(n_values + 1, size) for n_values in field_sizes)
        self.history = nn.Embedding(n_items, size)
        # Not the item tower's map: what an item says of who chose it is not what makes others choose it.
        self.history_side = nn.Linear(n_side, size)
        self.norm = nn.LayerNorm(size)
        self.dropout = Dropout(config.dropout)
        self.deep = nn.Sequential(
            nn.Linear(size * (1 + len(config.half_lives)), config.hidden_size),
            nn.GELU(),
            Dropout(config.dropout),
            nn.Linear(config.hidden_size, size),
        )
        self.wide = nn.Linear(size * (1 + len(config.half_lives)), size)
        for embedding in (self.identity, self.history, *self.attributes):
            nn.init.normal_(embedding.weight, std=0.02)
        nn.init.normal_(self.history_side.weight, std=0.02)
        nn.init.zeros_(self.history_side.bias)

    def forward(self, users: Tensor, attributes: Tensor, chosen: Tensor) -> Tensor:
        """Vectors (B, 1 + L, D): before any event, then after each of `chosen` (B, L, D), vectors of items.

        `users` (B,) long, -1 unknown; `attributes` (B, n_fields) long, -1 unknown.
        """
        nothing = chosen.new_zeros(len(chosen), 1, chosen.shape[2])
        pooled = [torch.cat([nothing, average], dim=1) for average in self.pool(self.norm(chosen))]
        who = self._who(users, attributes)[:, None].expand(-1, 1 + chosen.shape[1], -1)
        x = self.dropout(torch.cat([*pooled, who], dim=2))
        vectors: Tensor = self.wide(x) + self.deep(x)
        return vectors

    def pool(self, vectors: Tensor) -> list[Tensor]:
        """Averages of `vectors` (B, L, D) up to each place, one (B, L, D) per half-life."""
        places = torch.arange(vectors.shape[1], device=vectors.device)
        age = (places[:, None] - places).float()
        pooled = []
        for half_life in self.half_lives:
            if half_life == 0:
                pooled.append(vectors)
                continue
            weights = torch.where(age >= 0, torch.exp2(-age / half_life), 0.0)
            pooled.append((weights / weights.sum(1, keepdim=True)) @ vectors)
        return pooled

    def _who(self, users: Tensor, attributes: Tensor) -> Tensor:
        known = users >= 0
        if self.training and self.id_dropout > 0:
            known = known & (torch.rand(len(users), device=users.device) >= self.id_dropout)
        who: Tensor = self.identity(users.clamp(min=0)) * known[:, None]
        for field, embedding in enumerate(self.attributes):
            who = who + embedding(attributes[:, field] + 1)
        return who


class TwoTower(nn.Module):
    """Both towers and the arrays they read; item i scores `user_vector · item_vector_i`.

    Asking for vectors as arrays leaves the model in evaluation mode.
    """

    attributes: Tensor
    side: Tensor
    learnt: Tensor  # (n_items,) bool: which items were in a history in training; of others the identity says nothing

    def __init__(self, inputs: TowerInputs, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.n_users, self.n_items = inputs.n_users, inputs.n_items
        self.register_buffer("attributes", torch.from_numpy(inputs.user_attributes.astype(np.int64)), persistent=False)
        self.register_buffer("side", torch.from_numpy(inputs.side), persistent=False)
        self.register_buffer("learnt", torch.ones(inputs.n_items, dtype=torch.bool))
        self.item_tower = ItemTower(self.n_items, self.side.shape[1], config)
        self.user_tower = UserTower(self.n_users, self.n_items, self.side.shape[1], inputs.field_sizes, config)

    @torch.no_grad()
    def item_vectors(self) -> npt.NDArray[np.float32]:
        """(n_items, D) float32."""
        self.eval()
        rows = torch.arange(self.n_items, device=self.side.device)
        vectors: npt.NDArray[np.float32] = self.item_tower(rows, self.side).cpu().numpy()
        return vectors

    @torch.no_grad()
    def cold_item_vectors(self, side: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, D) float32 for items without identity, from their attributes and content, `side` (n, n_side)."""
        vectors: npt.NDArray[np.float32] = self.item_tower.side(torch.from_numpy(side)).numpy()
        return vectors

    @torch.no_grad()
    def user_vectors(
        self, histories: Histories, users: npt.NDArray[np.integer] | None = None, *, batch_users: int = 256
    ) -> npt.NDArray[np.float32]:
        """(n, D) float32, one per history; `users` (n,) says whose, -1 unknown; None: history u is user u's.

        Of a longer history the newest `history_length` events count. Without any event the vector is that of the
        user's attributes, and zero where none is known.
        """
        self.eval()
        lengths = np.diff(histories.offsets)
        whose = np.arange(len(lengths)) if users is None else users
        kept = np.minimum(lengths, self.config.history_length)
        starts = histories.offsets[1:] - kept
        vectors = np.zeros((len(lengths), self.config.embedding_size), dtype=np.float32)
        nobody = np.flatnonzero(kept == 0)
        attributes = np.where(whose[nobody, None] >= 0, self.attributes.cpu().numpy()[whose[nobody]], PADDING)
        vectors[nobody] = self.cold_user_vectors(attributes)
        order = np.argsort(kept, kind="stable")
        order = order[kept[order] > 0]
        for begin in range(0, len(order), batch_users):
            batch = order[begin : begin + batch_users]
            places = np.arange(kept[batch].max())
            valid = places < kept[batch, None]
            items = np.where(valid, histories.items[np.where(valid, starts[batch, None] + places, 0)], PADDING)
            hidden = self(torch.from_numpy(whose[batch].astype(np.int64)), torch.from_numpy(items.astype(np.int64)))
            vectors[batch] = hidden[torch.arange(len(batch)), torch.from_numpy(kept[batch])].cpu().numpy()
        return vectors

    @torch.no_grad()
    def cold_user_vectors(self, attributes: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """(n, D) float32 for users without any event, from `attributes` (n, n_fields): codes of the inputs or -1.

        Zero for a user of whom nothing is known.
        """
        self.eval()
        vectors = np.zeros((len(attributes), self.config.embedding_size), dtype=np.float32)
        known = (attributes >= 0).any(axis=1)
        if known.any():
            codes = torch.from_numpy(attributes[known].astype(np.int64)).to(self.side.device)
            nobody, nothing = (
                codes.new_full((len(codes),), PADDING),
                self.side.new_zeros(len(codes), 0, vectors.shape[1]),
            )
            vectors[known] = self.user_tower(nobody, codes, nothing)[:, 0].cpu().numpy()
        return vectors

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """User vectors (B, 1 + L, D) of `users` (B,): before any event, then after each of `items` (B, L), -1 padding.

        `users` -1 unknown.
        """
        users, items = users.to(self.side.device), items.to(self.side.device)
        attributes = torch.where((users >= 0)[:, None], self.attributes[users.clamp(min=0)], PADDING)
        vectors: Tensor = self.user_tower(users, attributes, self._as_chosen(items.clamp(min=0)))
        return vectors

    def _as_chosen(self, items: Tensor) -> Tensor:
        """What each of `items` (B, L) says of who chose it, (B, L, D): its identity and a map of all else, which is
        all there is of items not learnt.
        """
        identity, known = self.user_tower.history(items), self.learnt[items]
        if self.training and self.config.item_id_dropout > 0:
            known = known & (torch.rand(items.shape, device=items.device) >= self.config.item_id_dropout)
        rows, places = torch.unique(items, return_inverse=True)
        chosen: Tensor = identity * known[:, :, None] + self.user_tower.history_side(self.side[rows])[places]
        return chosen
