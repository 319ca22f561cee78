"""Settings of the multi-exit ranker and of its training; builds nothing."""

from typing import Literal

import msgspec

from upnext.errors import SettingsError

# What a ranker foretells of a candidate. The first is learnt over the whole list; the others of what was chosen.
TASKS = ("click", "complete", "like", "dislike")
LABELLED_TASKS = TASKS[1:]


class TaskWeights(msgspec.Struct, frozen=True, kw_only=True):
    """One number per task, by its name."""

    click: float
    complete: float
    like: float
    dislike: float

    def of(self, tasks: tuple[str, ...]) -> tuple[float, ...]:
        """The numbers of `tasks`, in their order."""
        return tuple(float(getattr(self, task)) for task in tasks)


class RankerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One record per trained ranker; a checkpoint belongs to exactly one."""

    # Which ranker is trained: this one ("dnn") or boosted trees ("trees"), whose settings are a group of their own.
    kind: Literal["dnn", "trees"] = "dnn"
    # Width of the first layer, whose item side is folded into the catalogue.
    first_width: int = 256
    # Widths of the hidden layers after it: narrow up to the first exit, which has to be cheap, wide behind it.
    hidden: tuple[int, ...] = (64, 64, 64, 192, 192, 192, 192, 64)
    # After how many hidden layers the ranker can answer, ascending; the last must use all of them.
    exits: tuple[int, ...] = (3, 5, 8)
    # Cross column that the untrained ranker orders by; its first score is weight × raw column. None: `upnext train`
    # takes the column, and the weight, that order the lists best; `train_ranker` by itself has no prior then.
    prior_column: int | None = None
    prior_weight: float = 1.0
    # Share of activations dropped in training after every layer.
    dropout: float = 0.1
    # Share of candidates whose item inputs are hidden in training: against learning by heart, and for items yet new.
    item_dropout: float = 0.1
    # Weight of the shallower exits' agreement with the deepest one, beside their own loss.
    distillation: float = 0.5
    # What a mistake of each task weighs in training.
    task_weights: TaskWeights = TaskWeights(click=1.0, complete=0.1, like=0.1, dislike=0.1)
    # The score is the sum of these weights times the tasks' logits; 0 leaves a task out.
    score_weights: TaskWeights = TaskWeights(click=1.0, complete=0.2, like=0.2, dislike=-0.2)
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
        if not self.score_weights.click > 0:
            raise SettingsError(
                f"score_weights.click must be above 0, but is {self.score_weights.click}; "
                "the other tasks are only learnt of what was chosen and cannot rank alone"
            )
        if min(self.task_weights.of(TASKS)) < 0:
            raise SettingsError("a task_weights is below 0; use 0 to leave a task out of the training")
