"""The ranker as boosted trees: grown, judged at each of its exits, and put into a release."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter_ns

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.catalog.spare import with_spare_rows
from upnext.cli.pipeline.impression_lists import with_impressions
from upnext.cli.pipeline.plan import TrainSettings
from upnext.features.spec import FeatureSpec
from upnext.features.tree_inputs import plain_columns
from upnext.funnel.ranking.trees import TreeRanker, open_booster, tree_exit
from upnext.models.ranker_lists import RankerLists
from upnext.models.ranker_trees import RankerTrees
from upnext.release.writer import ReleaseWriter
from upnext.training.metrics import ndcg, places_in_scores
from upnext.training.ranker_trees_loop import score_lists_with_trees, train_trees

Floats = npt.NDArray[np.float32]
_TIMED_ROWS, _TIMED_CALLS = 500, 50
_CHUNK = 1_024


class TreesExit(msgspec.Struct, frozen=True, kw_only=True):
    """What the ranker is worth after some of its trees, on lists it was not grown with; p50 of a call with 500 rows."""

    exit: str
    n_trees: int
    n_lists: int
    ndcg: float
    p50_us: float


@dataclass(frozen=True)
class GrownTrees:
    """What a release takes of boosted trees. `items` (n_items, width) float32: the `columns` they read of an item."""

    trees: RankerTrees
    items: Floats
    columns: list[int]
    exits: list[TreesExit]
    default_exit: str
    ranker: TreeRanker

    def with_items(self, item_inputs: Floats) -> "GrownTrees":
        """The same for a catalogue whose raw inputs are `item_inputs` (n_items, d_item) now."""
        return replace(self, items=np.ascontiguousarray(item_inputs[:, self.columns]))

    def opened(self, chunk: int) -> TreeRanker:
        """The trees, ready to score, without a release."""
        return self.ranker.with_chunk(chunk)

    def add_to(self, writer: ReleaseWriter, spec: FeatureSpec, spare_rows: int) -> None:
        add_trees(writer, self.trees.model, self.trees.exits, self.default_exit)
        writer.add_array("ranker.item_inputs", with_spare_rows(self.items, spare_rows))
        writer.add_json("ranker.item_columns", plain_columns(spec.item))
        writer.add_json("ranker.spec", {"digest": spec.digest(), "features": msgspec.to_builtins(spec)})


def add_trees(writer: ReleaseWriter, model: bytes, exits: tuple[int, ...], default_exit: str) -> None:
    """The parts of a release that are the trees' own, but for what they read of items."""
    writer.add_json("ranker.kind", "trees")
    writer.add_bytes("ranker.trees", model, ".ubj")
    names = [tree_exit(count) for count in exits]
    writer.add_json("ranker.exits", {"names": names, "default": default_exit, "trees": list(exits)})


def grow_trees(
    lists: RankerLists,
    spec: FeatureSpec,
    settings: TrainSettings,
    seed: int,
    progress: Callable[[int, int, str], None],
    impressions: RankerLists | None = None,
) -> GrownTrees:
    """Grows the trees on all but the lists kept back for judging, as with the network. `spec` names the columns."""
    order = np.random.default_rng(seed).permutation(len(lists))
    n_kept_back = min(settings.lists.parity, len(lists) // 5)
    learning, kept_back = lists.take(order[n_kept_back:]), lists.take(order[:n_kept_back])
    learning = with_impressions(learning, impressions, settings.lists.impression_weight)
    trees = train_trees(learning, spec, settings.trees, seed=seed, progress=progress)
    columns = plain_columns(spec.item)
    items = lists.item_inputs[:, columns]
    ranker = tree_ranker(trees.model, items, spec, trees.exits)
    exits = []
    for count in trees.exits:
        scores = score_lists_with_trees(trees, kept_back, spec, count)
        gained = ndcg(places_in_scores(scores, kept_back.target), 10)
        name = tree_exit(count)
        exits.append(
            TreesExit(exit=name, n_trees=count, n_lists=len(kept_back), ndcg=gained, p50_us=p50_us(ranker, name))
        )
    best = max(each.ndcg for each in exits)  # the shallowest exit that loses next to nothing is taken
    default = next(each.exit for each in exits if each.ndcg >= 0.995 * best)
    return GrownTrees(trees, items, columns, exits, default, ranker)


def tree_ranker(model: bytes, items: Floats, spec: FeatureSpec, exits: tuple[int, ...]) -> TreeRanker:
    """The trees ready to score, without a release; they answer with all trees unless asked otherwise."""
    return TreeRanker(
        open_booster(model), items, plain_columns(spec.user), n_user=len(spec.user), n_cross=len(spec.cross),
        exits=exits, default_exit=tree_exit(exits[-1]), chunk=_CHUNK,
    )  # fmt: skip


def p50_us(ranker: TreeRanker, exit_name: str) -> float:
    """Median microseconds of one call with 500 made-up candidates."""
    asked = ranker.made_up_inputs(_TIMED_ROWS)
    times_us = []
    for _ in range(_TIMED_CALLS):
        started = perf_counter_ns()
        ranker.score(asked.rows, asked.user, asked.cross, exit_name)
        times_us.append((perf_counter_ns() - started) / 1e3)
    return float(np.median(times_us))
