"""The funnel asked about users who have only just come, with the content source and without it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.evaluation import Progress, Subject, cut_ms_of, replay_of
from upnext.cli.pipeline.plan import SplitName, check_held_out, split_of
from upnext.cli.pipeline.rehearsal import histories_at
from upnext.clock import SystemClock
from upnext.errors import TrainingError
from upnext.funnel.replay import Histories, Replay
from upnext.funnel.request import SlateRequest
from upnext.funnel.retrieval.sources import Lookup, content
from upnext.settings import Settings
from upnext.training.cold_start import (
    FIGURES,
    MOST_KNOWN,
    WITH,
    WITHOUT,
    ColdStart,
    Start,
    as_if_new,
    newcomers,
    start_figures,
    until,
)
from upnext.training.evaluate import Answered
from upnext.training.metrics import places_in_rows
from upnext.training.splits import Mask, interactions

Rows = npt.NDArray[np.int32]
_K = 20
_TIMED_CALLS = 2_000
PROTOCOLS = {
    "leave-one-out": "users as if they had only just come",
    "time": "newcomers",
}


def cold_start(
    subject: Subject, name: SplitName, settings: Settings, seed: int, most_users: int, progress: Progress
) -> ColdStart:
    """Figures by number of interactions known, 0 to MOST_KNOWN, as served with and without the content source.

    Raises `TrainingError` when the release may know the answers, has no content index, or no user fits.
    """
    check_held_out(subject.facts, name)
    if subject.live.funnel.indexes.content is None:
        raise TrainingError("this release has no content index: items have no text to begin with")
    visible, starts = _starts(subject, name, most_users)
    nobody = np.empty(0, np.int32)
    arms = {
        WITHOUT: replay_of(subject, visible, nobody, settings, shadow_interactions=0),
        WITH: replay_of(subject, visible, nobody, settings, shadow_interactions=MOST_KNOWN + 1),
    }
    answered = []
    for done, start in enumerate(starts):
        answered.append((start.n_known, _answer(subject, start, arms)))
        progress(done + 1, len(starts), f"{len(start.events)} users")
    together, intervals = until(answered, seed)
    users = np.unique(subject.world.columns.user[starts[-1].events])
    return ColdStart(
        dataset=str(subject.facts["dataset"]), split=name, seed=seed, release=subject.live.release_id,
        protocol=PROTOCOLS[name], starts=[start_figures(n, each, seed) for n, each in answered], until=together,
        until_intervals=intervals, content_us=content_cost_us(arms[WITH], users.tolist()),
    )  # fmt: skip


def _starts(subject: Subject, name: SplitName, most_users: int) -> tuple[Mask, list[Start]]:
    """What the crowd may know, and the starts."""
    columns, cut_ms = subject.world.columns, cut_ms_of(subject)
    if name == "time":
        return interactions(columns) & (columns.timestamp_ms < cut_ms), newcomers(columns, cut_ms, most_users)
    split = split_of(columns, name, hold_out=True, cut_ms=cut_ms)
    return split.train | split.ranker, as_if_new(columns, split.case_events, most_users)


def _answer(subject: Subject, start: Start, arms: dict[str, Replay]) -> Answered:
    columns = subject.world.columns
    users = columns.user[start.events].astype(np.int32)
    histories = _fresh_users(subject, start, users)
    targets = columns.item[start.events].astype(np.int32)
    places = {}
    for name, replay in arms.items():
        replay.begin(histories)
        places[name] = places_in_rows(_ranked(users, replay.slate), targets)
    replay = arms[WITH]
    places["popular"] = places_in_rows(_ranked(users, lambda user, k: _popular(replay, user, k)), targets)
    n_before = np.full(len(users), start.n_known)
    return Answered(columns.seq[start.events], users, n_before, targets, FIGURES, places)


def _ranked(users: Rows, rank_one: Callable[[int, int], Rows]) -> Rows:
    ranked = np.full((len(users), _K), -1, np.int32)
    for case, user in enumerate(users.tolist()):
        rows = rank_one(user, _K)[:_K]
        ranked[case, : len(rows)] = rows
    return ranked


def _popular(replay: Replay, user: int, k: int) -> Rows:
    """What the crowd chooses, without what the user is known to have chosen."""
    rows = replay.funnel.popular().rows
    return rows[~np.isin(rows, replay.view(user).seen_rows)][:k]


def _fresh_users(subject: Subject, start: Start, users: Rows) -> Histories:
    """Users as a server sees them who came after the last training: a session, but no user vector and no identity."""
    histories = histories_at(subject.world, start.shown, np.sort(users), subject.session, subject.two_tower)
    known = np.diff(histories.offsets) > 0
    slots = np.where(known, histories.slots, np.int32(-1)).astype(np.int32)
    no_vectors = np.zeros((len(histories.user_vectors), 0), np.float32)
    return replace(histories, slots=slots, user_vectors=no_vectors)


def content_cost_us(replay: Replay, users: list[int], calls: int = _TIMED_CALLS) -> dict[str, float]:
    """Microseconds of the content source for `users` as they stand, signals left out: p50, p99 and the longest."""
    funnel, clock, times_us = replay.funnel, SystemClock(), np.empty(calls)
    n = funnel.settings.retrieval.content
    nothing_fresh = np.empty(0, np.int32)
    looks = []
    for user in users[:200]:
        view = replay.view(user)
        signals = funnel.signals(view, SlateRequest(subject=None, k=1))
        spare = len(view.seen_rows)
        looks.append(Lookup(view, signals, funnel.crowd, funnel.vectors, funnel.indexes, None, spare, nothing_fresh))
    for call in range(calls):
        look = looks[call % len(looks)]
        begin_ms = clock.monotonic_ms()
        content(look, n)
        times_us[call] = (clock.monotonic_ms() - begin_ms) * 1e3
    p50, p99 = np.quantile(times_us, [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99), "max": float(times_us.max())}
