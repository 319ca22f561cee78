"""How much does the funnel cost beyond the bare library calls it cannot do without?

One thread, one run, interleaved: the floor is the two vector searches and the ranker's graph alone; the funnel is all
from a parsed request to a slate (state read, signals, sources, merge, features, ranking, rules). Prints medians of
rounds and the ratio; `--profile` adds where the funnel's own time goes.
"""

import argparse
import cProfile
import json
import os
import pstats
import tempfile
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from random_release import build_random_release  # noqa: E402
from upnext.clock import Deadline, SystemClock  # noqa: E402
from upnext.funnel.answer import Answer  # noqa: E402
from upnext.funnel.live import Live, open_live  # noqa: E402
from upnext.funnel.request import SlateRequest  # noqa: E402
from upnext.release.releases import Releases  # noqa: E402
from upnext.settings import load_settings  # noqa: E402
from upnext.store.lmdb_store import LmdbStore  # noqa: E402

USERS = 200


class Bench:
    """Both sides over the same users of one release."""

    def __init__(self, home: Path) -> None:
        self.clock = SystemClock()
        self.store = LmdbStore(home / "state", self.clock)
        self.live: Live = open_live(Releases(home).open_active(), load_settings(home), self.clock)
        self.never = Deadline.never(self.clock)
        self.subjects = [f"u:user{user}" for user in range(USERS)]
        self.prepared = [self._prepare(subject) for subject in self.subjects]

    def _prepare(self, subject: str) -> tuple[np.ndarray, ...]:
        funnel = self.live.funnel
        view = self.live.view(subject, self.store, self.never)
        signals = funnel.signals(view, SlateRequest(subject=None, k=20))
        answer = Answer(funnel.popular())
        candidates = funnel.candidates(view, signals, SlateRequest(subject=subject, k=20), answer, self.never)
        cross = funnel.assembler.cross(view, signals, candidates.rows, candidates.sources, funnel.crowd)
        session = funnel.vectors.session_query(view.session_vector)[None]
        user = view.user_vector[None]
        return session, user, candidates.rows, funnel.assembler.user(view, signals), cross

    def floor(self, place: int) -> tuple[float, float]:
        """Milliseconds of the index searches and of the ranker graph."""
        funnel = self.live.funnel
        session, user, rows, user_inputs, cross = self.prepared[place]
        begin = self.clock.monotonic_ms()
        funnel.indexes.session.search(session, funnel.settings.retrieval.session_vector)
        funnel.indexes.user.search(user, funnel.settings.retrieval.user_vector)
        searched = self.clock.monotonic_ms()
        funnel.ranker.score(rows, user_inputs, cross, funnel.ranker.default_exit)
        return searched - begin, self.clock.monotonic_ms() - searched

    def funnel(self, place: int) -> tuple[float, Answer]:
        """Milliseconds from request to slate, and the answer."""
        subject = self.subjects[place]
        begin = self.clock.monotonic_ms()
        answer = Answer(self.live.funnel.popular())
        request = SlateRequest(subject=subject, k=20)
        self.live.funnel.run(request, answer, lambda until: self.live.view(subject, self.store, until), self.never)
        return self.clock.monotonic_ms() - begin, answer


def measure(bench: Bench, rounds: int) -> dict[str, float]:
    """Medians over all users and rounds, in microseconds; both sides in turn."""
    searches, graphs, totals = [], [], []
    stages: dict[str, list[float]] = {}
    for turn in range(rounds * USERS):
        search_ms, graph_ms = bench.floor(turn % USERS)
        total_ms, answer = bench.funnel((turn + USERS // 2) % USERS)  # another user: nobody warms the other's caches
        assert answer.slate is not None
        assert answer.slate.tier == "full", answer.degraded
        if turn >= USERS:  # the first round warms up
            searches.append(search_ms)
            graphs.append(graph_ms)
            totals.append(total_ms)
            for stage, ms in answer.timing_ms.items():
                stages.setdefault(stage, []).append(ms)
    floor = np.add(searches, graphs)
    return {
        "index_search_us": float(np.median(searches)) * 1e3,
        "ranker_graph_us": float(np.median(graphs)) * 1e3,
        "floor_us": float(np.median(floor)) * 1e3,
        "funnel_us": float(np.median(totals)) * 1e3,
        "funnel_p99_us": float(np.percentile(totals, 99)) * 1e3,
        "ratio": float(np.median(totals) / np.median(floor)),
        **{f"stage_{stage}_us": float(np.median(ms)) * 1e3 for stage, ms in stages.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="A home made by random_release.py.  [default: made anew]")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        if arguments.home is None or not (home / "releases").exists():
            build_random_release(home, arguments.items)
        bench = Bench(home)
        print(f"indexes: session {bench.live.funnel.indexes.session.kind}, user {bench.live.funnel.indexes.user.kind}")
        figures = measure(bench, arguments.rounds)
        for name, value in figures.items():
            print(f"{name:<24}{value:10.2f}" if name == "ratio" else f"{name:<24}{value:10.0f}")
        if arguments.profile:
            profile = cProfile.Profile()
            profile.runcall(lambda: [bench.funnel(turn % USERS) for turn in range(1_000)])
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
