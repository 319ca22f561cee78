"""Step two: what the ranker learns from, namely what retrieval really returned just before each recorded choice."""

from collections.abc import Callable

import numpy as np

from upnext.cli.pipeline.ranker_labels import task_labels
from upnext.cli.pipeline.world import World
from upnext.funnel.replay import Replay
from upnext.models.ranker_lists import RankerLists
from upnext.training.splits import Mask


def asked_of(chosen: Mask, most: int, seed: int) -> Mask:
    """Those of the events in `chosen` that lists are asked for: at most `most`, drawn at random; fewer are among more.

    Nobody but their users needs vectors when a replay begins.
    """
    events, asked = np.flatnonzero(chosen), np.zeros_like(chosen)
    asked[events[np.random.default_rng(seed).permutation(len(events))[:most]]] = True
    return asked


def ranker_lists(
    world: World, replay: Replay, chosen: Mask, known: Mask, most: int, seed: int,
    progress: Callable[[int, int, str], None],
) -> tuple[RankerLists, float]:  # fmt: skip
    """Lists for at most `most` of the events in `chosen`, and the share of those that retrieval had found.

    `known` (n_events,) bool: the events that labels may look at, see `may_be_known`.

    The replay goes through all of them in the order of time: asked before each, then told. An event whose item was not
    retrieved makes no list: ranking could not have helped.
    """
    columns, funnel = world.columns, replay.funnel
    # A release has the item side as of when it was made, whatever is chosen afterwards: so it is here.
    items = funnel.assembler.items(funnel.crowd.trends)
    events = np.flatnonzero(chosen)
    asked = asked_of(chosen, most, seed)[events]
    n_most = int(asked.sum())
    tracked = np.isin(columns.user[events], np.unique(columns.user[events[asked]]))
    n_candidates = funnel.settings.retrieval.candidates
    rows = np.full((n_most, n_candidates), -1, np.int32)
    cross = np.zeros((n_most, n_candidates, len(funnel.assembler.spec.cross)), np.float16)
    user = np.zeros((n_most, len(funnel.assembler.spec.user)), np.float32)
    target = np.zeros(n_most, np.int32)
    of_event = np.zeros(n_most, np.int64)
    n_lists = n_asked = 0
    for place, event in enumerate(events.tolist()):
        who, item = int(columns.user[event]), int(columns.item[event])
        if asked[place]:
            n_asked += 1
            view, signals, candidates = replay.retrieve(who)
            at = np.flatnonzero(candidates.rows == item)
            if len(at):
                n = len(candidates.rows)
                rows[n_lists, :n] = candidates.rows
                inputs = funnel.inputs(view, signals, candidates.rows, candidates.sources, candidates.scores)
                cross[n_lists, :n] = inputs.cross
                user[n_lists] = inputs.user
                target[n_lists] = at[0]
                of_event[n_lists] = event
                n_lists += 1
        replay.observe(
            who, int(columns.session[event]), item, int(columns.timestamp_ms[event]),
            action=int(columns.action[event]), value=float(columns.value[event]), tracked=bool(tracked[place]),
            context=columns.context_of(event),
        )  # fmt: skip
        if place % 500 == 0 or place == len(events) - 1:
            progress(place + 1, len(events), f"{n_lists:,} of {n_asked:,} found by retrieval")
    tasks = task_labels(columns, of_event[:n_lists], known)
    lists = RankerLists(items, user[:n_lists], rows[:n_lists], cross[:n_lists], target[:n_lists], tasks)
    return lists, n_lists / max(1, n_asked)
