"""Is `upnext train --update` ten times as fast as a whole training, and worth it on the next day's clicks?

Trains on everything before a day, adds that day, updates (and, with --retrain, trains everything anew), and asks the
release before and the update for every known user's first click after that day; both know the history and the crowd
up to there. An item that a release does not know counts as missed by it. The comparison is paired: see
`upnext compare`.
"""

import argparse
import json
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from upnext.cli.home import Home, opened_home
from upnext.cli.pipeline.evaluation import Subject, replay_of
from upnext.cli.pipeline.plan import TrainSettings
from upnext.cli.pipeline.run import TrainingRun
from upnext.cli.pipeline.systems import funnel_systems, session_system
from upnext.cli.pipeline.update import UpdateRun
from upnext.cli.pipeline.update_base import extended_session, extended_two_tower, open_base
from upnext.cli.pipeline.world import load_world
from upnext.clock import SystemClock
from upnext.domain.event import Event, Item, User
from upnext.ingest.importers.formats import open_source
from upnext.release.release import Release
from upnext.settings import Settings, load_settings, load_table
from upnext.training.compare import compare
from upnext.training.evaluate import Answered, ask
from upnext.training.metrics import MISSED
from upnext.training.splits import by_time, cases_at, interactions

SYSTEMS, FIGURE = ("session", "retrieval", "ranked", "funnel"), "ndcg@10"


class Quiet:
    """Shows nobody how far a step is, only how long it took."""

    @contextmanager
    def _step(self, name: str) -> Any:
        started = time.perf_counter()
        yield lambda done, total, remark="": None
        print(f"  {time.perf_counter() - started:8.1f} s  {name}", flush=True)

    def step(self, name: str) -> AbstractContextManager[Any]:
        return self._step(name)


def main() -> None:
    arguments = _arguments()
    events, items, users = _records(arguments.data)
    if arguments.until_ms:
        events = [event for event in events if event.timestamp_ms < arguments.until_ms]
    chosen = np.array([event.timestamp_ms for event in events])
    if arguments.day_ms:
        days = [int(chosen[-1]) + 1 - 2 * arguments.day_ms, int(chosen[-1]) + 1 - arguments.day_ms]
    else:
        days = [int(chosen[int(len(chosen) * (1 - back * arguments.share))]) for back in (2, 1)]
    first, second = np.searchsorted(chosen, days)
    settings = load_settings(arguments.home, {})
    train = load_table(TrainSettings, arguments.home / "train.toml", None, tuple(arguments.set))
    took_s: dict[str, float] = {}
    with opened_home(arguments.home) as home:
        home.records.put_items(items)
        home.records.put_users(users)
        home.event_log.append(events[:first])
        parts = (home.path, home.store, home.records, home.event_log, settings, train, 0, Quiet())
        before = _timed(took_s, "training", lambda: TrainingRun(*parts).release("", "time", hold_out=False))
        home.event_log.append(events[first:second])
        update = _timed(took_s, "update", lambda: UpdateRun(*parts).release(before, "", "time", hold_out=False))
        if arguments.retrain:
            _timed(took_s, "training with the day", lambda: TrainingRun(*parts).release("", "time", hold_out=False))
        home.event_log.append(events[second:])
        answers = [_answers(home, release, days[1], settings, train) for release in (before, update)]
    differences = compare(*answers)
    print(f"training {took_s['training']:.1f} s, update {took_s['update']:.1f} s: "
          f"{took_s['training'] / took_s['update']:.1f} times as fast")  # fmt: skip
    for each in differences:
        if each.figure == FIGURE:
            low, high = each.interval
            print(f"{each.system:10} {each.figure} before {each.first:.4f}, updated {each.second:.4f}, "
                  f"difference {each.difference:+.4f} [{low:+.4f}, {high:+.4f}], {each.in_words}")  # fmt: skip
    if arguments.json:
        report = {"seconds": took_s, "n_cases": len(answers[0]), "differences": msgspec.to_builtins(differences)}
        arguments.json.write_text(json.dumps(report, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="Anything that `upnext import` takes.")
    parser.add_argument("--home", type=Path, required=True, help="A new folder.")
    parser.add_argument("--day-ms", type=int, help="How long a day is.  [default: --share of the events]")
    parser.add_argument("--until-ms", type=int, help="Events from then on are left out, as a few late ones would be.")
    parser.add_argument("--share", type=float, default=0.05, help="Of the events, a day has.")
    parser.add_argument("--retrain", action="store_true", help="Time a whole training with the day, too.")
    parser.add_argument("--set", action="append", default=[], help="As `upnext train --set`.")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _records(data: Path) -> tuple[list[Event], list[Item], list[User]]:
    """Everything a data set holds; events in order of time."""
    found: dict[type, list[Any]] = {Event: [], Item: [], User: []}
    for record in open_source(data, now_ms=SystemClock().now_ms()).records():
        if type(record) in found:
            found[type(record)].append(record)
    found[Event].sort(key=lambda event: event.timestamp_ms)
    return found[Event], found[Item], found[User]


def _timed(took_s: dict[str, float], name: str, make: Any) -> Release:
    print(name, flush=True)
    started = time.perf_counter()
    release: Release = make()
    took_s[name] = time.perf_counter() - started
    return release


def _answers(home: Home, release: Release, after_ms: int, settings: Settings, train: TrainSettings) -> Answered:
    """Where the parts of a release put what users chose after `after_ms` first, unknown items included."""
    base = open_base(
        release, load_world(home.event_log, home.records, contexts=settings.trends.contexts), settings, train
    )
    world, n_items = base.world, base.n_items
    asked = by_time(world.columns, cut_ms=after_ms).case_events
    unknown = world.columns.item >= n_items
    model, _ = extended_two_tower(base, _content(base))
    columns = replace(world.columns, item=np.where(unknown, -1, world.columns.item).astype(np.int32))
    known = replace(world, columns=columns, catalog=base.live.funnel.catalog)
    subject = Subject(known, base.live, extended_session(base), model, base.facts)
    visible = interactions(columns) & (columns.timestamp_ms < after_ms)
    users = np.unique(columns.user[asked])
    replay = replay_of(subject, visible, users, settings)
    systems = [session_system(subject.session, base.live.funnel.vectors), *funnel_systems(replay)]
    cases = cases_at(columns, asked[~unknown[asked]], drop_seen=settings.reranking.drop_seen)
    return _with_missed(ask(systems, cases, n_items), world.columns, asked[unknown[asked]])


def _content(base: Any) -> Any:
    """Vectors of the release's items, zeros behind for those it does not know."""
    old = base.live.funnel.vectors.content
    if old is None:
        return None
    return np.concatenate([old, np.zeros((base.world.catalog.n_items - len(old), old.shape[1]), np.float32)])


def _with_missed(answered: Answered, columns: Any, missed: Any) -> Answered:
    """`answered`, and the events `missed`, at the place of what is nowhere."""
    n = len(missed)
    nowhere = np.full(n, MISSED, np.int64)
    return Answered(
        np.concatenate([answered.events, columns.seq[missed]]),
        np.concatenate([answered.users, columns.user[missed]]),
        np.concatenate([answered.n_before, np.zeros(n, np.int64)]),
        np.concatenate([answered.targets, np.full(n, -1, np.int32)]),
        answered.figures,
        {name: np.concatenate([places, nowhere]) for name, places in answered.places.items()},
    )


if __name__ == "__main__":
    main()
