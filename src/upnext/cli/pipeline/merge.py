"""What the weights of the sources are learnt from: what each really had just before recorded choices."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.world import World
from upnext.clock import Deadline, SystemClock
from upnext.features.spec import SOURCE_BIT
from upnext.funnel.answer import Answer
from upnext.funnel.replay import Replay
from upnext.funnel.request import SlateRequest
from upnext.funnel.retrieval.merge import gains_of_ranks
from upnext.funnel.retrieval.retrieval import SOURCE_FUNCTIONS
from upnext.settings import RetrievalSettings
from upnext.training.merge_weights import MergeCases, MergeWeights, learn_weights
from upnext.training.splits import Mask

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int, str], None]
_FIRST_SHARE = 0.1  # of the events; the replay goes no further, but for as many as are asked about


def learn_merge(world: World, replay: Replay, chosen: Mask, most: int, seed: int, progress: Progress) -> MergeWeights:
    """Weights learnt from at most `most` of the first events of `chosen`, of which the replay knows nothing yet."""
    settings = replay.funnel.settings.retrieval
    cases = merge_cases(world, replay, chosen, most, seed, progress)
    start = {name: float(getattr(settings, f"{name}_weight")) for name in SOURCE_FUNCTIONS}
    return learn_weights(cases, start, settings.candidates, seed, progress)


def merge_cases(world: World, replay: Replay, chosen: Mask, most: int, seed: int, progress: Progress) -> MergeCases:
    """Asked before each sampled event, then told, in the order of time."""
    columns = world.columns
    events = np.flatnonzero(chosen)
    events = events[: max(int(len(events) * _FIRST_SHARE), most)]
    asked = np.zeros(len(events), np.bool_)
    asked[np.random.default_rng(seed).permutation(len(events))[:most]] = True
    tracked = np.isin(columns.user[events], np.unique(columns.user[events[asked]]))
    names = _sources(replay.funnel.settings.retrieval)
    gains, targets, sizes = [np.zeros((0, len(names)), np.float32)], [], [0]
    for place, event in enumerate(events.tolist()):
        who, item = int(columns.user[event]), int(columns.item[event])
        if asked[place]:
            rows, added = _pool(replay, who, names)
            at = np.flatnonzero(rows == item)
            if len(rows):
                targets.append(sum(sizes) + int(at[0]) if len(at) else -1)
                gains.append(added)
                sizes.append(len(rows))
        replay.observe(
            who, int(columns.session[event]), item, int(columns.timestamp_ms[event]),
            action=int(columns.action[event]), value=float(columns.value[event]), tracked=bool(tracked[place]),
            context=columns.context_of(event),
        )  # fmt: skip
        if place % 500 == 0 or place == len(events) - 1:
            progress(place + 1, len(events), f"{len(targets):,} asked")
    return MergeCases(names, np.concatenate(gains), np.cumsum(sizes), np.array(targets, np.int64))


def _sources(settings: RetrievalSettings) -> tuple[str, ...]:
    return tuple(name for name in SOURCE_FUNCTIONS if getattr(settings, name) > 0)


def _pool(replay: Replay, user: int, names: tuple[str, ...]) -> tuple[npt.NDArray[np.int32], Floats]:
    """All candidates that the rules let through (n,), and what the rank in each source adds to them (n, n_sources)."""
    funnel = replay.funnel
    view, signals, _ = replay.retrieve(user)
    request, answer = SlateRequest(subject=None, k=1), Answer(funnel.popular())
    seen = view.seen_rows if funnel.settings.reranking.drop_seen else np.empty(0, np.int32)
    found = funnel.retrieval.found(view, signals, request, seen, answer, Deadline.never(SystemClock()))
    rows = np.unique(np.concatenate([np.empty(0, np.int32), *(listed for _, _, listed in found)]))
    gains = np.zeros((len(rows), len(names)), np.float32)
    column_of = {SOURCE_BIT[name]: column for column, name in enumerate(names)}
    for bit, _, listed in found:
        gains[np.searchsorted(rows, listed), column_of[bit]] = gains_of_ranks(len(listed))
    kept = funnel.reranker.keep(rows, request, seen)
    return rows[kept], gains[kept]
