"""Settings of the multi-exit ranker and of its training; builds nothing."""

import msgspec

from upnext.errors import SettingsError


class RankerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One record per trained ranker; a checkpoint belongs to exactly one."""

    # Width of the first layer, whose item side is folded into the catalogue.
    first_width: int = 256
    # Widths of the hidden layers after it.
    hidden: tuple[int, ...] = (256, 128, 64, 64, 64, 64, 64, 64)
    # After how many hidden layers the ranker can answer, ascending; the last must use all of them.
    exits: tuple[int, ...] = (3, 5, 8)
    # Cross column that the untrained ranker orders by, None for no prior; its first score is weight × raw column.
    prior_column: int | None = None
    prior_weight: float = 1.0
    # Share of activations dropped in training after every layer.
    dropout: float = 0.1
    # Share of candidates whose item inputs are hidden in training: against learning by heart, and for items yet new.
    item_dropout: float = 0.1
    # Weight of the shallower exits' agreement with the deepest one, beside their own loss.
    distillation: float = 0.5
    # Passes over all lists at most, and epochs without a better NDCG@10 on the held-out lists before stopping.
    epochs: int = 12
    patience: int = 3
    # Share of the lists held out for stopping.
    held_out_share: float = 0.1
    # Lists per step, and candidates per list in it: the target and others drawn anew. 0 takes them all.
    batch_lists: int = 32
    sampled_candidates: int = 128
    # Peak of the schedule (linear warm-up, cosine to zero).
    learning_rate: float = 1e-3
    # AdamW's decay of weight matrices, and of the item side, which could learn single items by heart.
    weight_decay: float = 0.01
    item_weight_decay: float = 0.1

    def __post_init__(self) -> None:
        if not self.exits or list(self.exits) != sorted(set(self.exits)) or self.exits[0] < 1:
            raise SettingsError(f"exits must be ascending depths of 1 or more, but are {self.exits}")
        if self.exits[-1] != len(self.hidden):
            raise SettingsError(
                f"the last exit must use all {len(self.hidden)} hidden layers, but is {self.exits[-1]}; "
                "drop the layers nobody leaves from or add an exit"
            )
        if self.sampled_candidates == 1:
            raise SettingsError(
                "sampled_candidates = 1 leaves nothing to tell the target from; use 0 (all) or 2 and more"
            )
        if not 0 < self.held_out_share < 1:
            raise SettingsError(f"held_out_share must lie between 0 and 1, but is {self.held_out_share}")
