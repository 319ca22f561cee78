"""Which session step graph a release gets, float32 or int8: walked over whole histories, timed; exports nothing."""

import time
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from upnext.compress.step import check_session_step, session_step_graph
from upnext.compress.step_int8 import Feed, int8_step_graph
from upnext.models.session_encoder import SessionEncoder
from upnext.release.onnx_session import open_session
from upnext.training.metrics import Places, ndcg, places_in_scores
from upnext.training.sequences import Sequences

Floats = npt.NDArray[np.float32]
TOP = 100
FIRST_PLACES, EVERY_PLACES = 32, 8
TURNS, CALLS = 60, 5
SCORES_AT_ONCE = 2**23  # 32 MiB of them


class StepBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What the int8 step may lose and must bring to be chosen, and what both are judged on."""

    # Users whose histories are walked, the longest first cut to so many of their newest events.
    users: int = 128
    events: int = 300
    # Largest relative loss of NDCG@10 of the event after each history.
    max_ndcg_loss: float = 0.005
    # Smallest mean share of the best 100 items that both graphs name.
    min_top_overlap: float = 0.98
    # Largest share of the float32 step's time, for one event and for many at once.
    max_time_share: float = 0.9


class StepParity(msgspec.Struct, frozen=True, kw_only=True):
    """One step graph beside the encoder that it was made from, after walking whole histories event by event."""

    precision: str
    n_histories: int
    n_events: int
    # Largest absolute difference of any session vector on the way; vectors are layer-normed, about 1 in each place.
    max_error: float
    # Of the event after each history, ranked over the whole catalogue.
    ndcg_trained: float
    ndcg_graph: float
    # Mean share of the trained encoder's best 100 items that the graph names too.
    top_overlap: float
    graph_bytes: int
    # Median microseconds of a call, for one event and for 64 users' at once.
    us_one: float
    us_64: float

    @property
    def ndcg_loss(self) -> float:
        """Relative; negative when the graph is better."""
        return 1 - self.ndcg_graph / self.ndcg_trained if self.ndcg_trained else 0.0


@dataclass(frozen=True, slots=True)
class ChosenStep:
    """The graph that serves, and what was found of every candidate."""

    graph: bytes
    precision: str
    trials: list[StepParity]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Histories without their last event, as vectors to read: (n, L, D), `lengths` (n,); what the encoder makes of
    them, (n, L, D); and the items that came last (n,)."""

    read: Floats
    lengths: npt.NDArray[np.int64]
    expected: Floats
    targets: npt.NDArray[np.int32]


def choose_step(encoder: SessionEncoder, histories: Sequences, bounds: StepBounds, *, seed: int) -> ChosenStep:
    """int8 where it is faster and loses nothing that counts, else float32. Puts the encoder in evaluation mode.

    Without a history of two events to judge on it is float32, with no trials. Raises ParityError where not even that
    graph walks like the encoder.
    """
    float32 = session_step_graph(encoder)
    check_session_step(float32, encoder, seed=seed)
    walk = _walk(encoder, histories, bounds, seed)
    if walk is None:
        return ChosenStep(float32, "float32", [])
    graphs = {"float32": float32, "int8": int8_step_graph(float32, _feeds(float32, encoder, walk))}
    sessions = {precision: open_session(graph) for precision, graph in graphs.items()}
    times = {n: _times_us(list(sessions.values()), n) for n in (1, 64)}
    trials = [
        _judge(precision, sessions[precision], graphs[precision], encoder, walk, times[1][at], times[64][at])
        for at, precision in enumerate(graphs)
    ]
    plain, small = trials
    chosen = "int8" if _is_worth_it(plain, small, bounds) else "float32"
    return ChosenStep(graphs[chosen], chosen, trials)


def _is_worth_it(plain: StepParity, small: StepParity, bounds: StepBounds) -> bool:
    faster = max(small.us_one / plain.us_one, small.us_64 / plain.us_64) <= bounds.max_time_share
    return faster and small.ndcg_loss <= bounds.max_ndcg_loss and small.top_overlap >= bounds.min_top_overlap


def _walk(encoder: SessionEncoder, histories: Sequences, bounds: StepBounds, seed: int) -> _Walk | None:
    users = np.flatnonzero(histories.lengths >= 2)
    if not len(users):
        return None
    rng = np.random.default_rng(seed)
    some = histories.take(np.sort(rng.choice(users, min(bounds.users, len(users)), replace=False)))
    lengths = np.minimum(some.lengths - 1, bounds.events)
    places = np.arange(lengths.max())
    events = np.where(places < lengths[:, None], (some.offsets[1:] - 1 - lengths)[:, None] + places, 0)
    codes = encoder.tables.codes(some)
    with torch.no_grad():
        read = encoder.eval().read(
            torch.from_numpy(some.items[events]).long(),
            None if codes is None else torch.from_numpy(codes[:, events]).long(),
        )
        states = torch.from_numpy(np.tile(encoder.initial_state(), (len(lengths), 1)))
        expected = encoder.advance(read, torch.from_numpy(lengths), states)[0]
    return _Walk(read.numpy(), lengths, expected.numpy(), some.items[some.offsets[1:] - 1])


def _feeds(graph: bytes, encoder: SessionEncoder, walk: _Walk) -> list[Feed]:
    """What the step reads at the first places and at others spread over the walk, so that every range is seen."""
    session = open_session(graph)
    state = np.tile(encoder.initial_state(), (len(walk.lengths), 1))
    feeds: list[Feed] = []
    for place in range(walk.lengths.max()):
        read, left = np.ascontiguousarray(walk.read[:, place]), walk.lengths > place
        if place < FIRST_PLACES or place % EVERY_PLACES == 0:
            feeds.append({"state": state[left], "item_vector": read[left]})
        state = session.run(["new_state"], {"state": state, "item_vector": read})[0]
    return feeds


def _judge(
    precision: str, session: onnxruntime.InferenceSession, graph: bytes, encoder: SessionEncoder, walk: _Walk,
    us_one: float, us_64: float,
) -> StepParity:  # fmt: skip
    rows = np.arange(len(walk.lengths))
    state, error = np.tile(encoder.initial_state(), (len(rows), 1)), 0.0
    last = np.zeros_like(walk.expected[:, 0])
    for place in range(walk.lengths.max()):
        left = walk.lengths > place
        state, found = session.run(None, {"state": state, "item_vector": np.ascontiguousarray(walk.read[:, place])})
        error = max(error, float(np.abs(found - walk.expected[:, place])[left].max()))
        last[walk.lengths == place + 1] = found[walk.lengths == place + 1]
    trained, graphs, overlap = _ranked(
        walk.expected[rows, walk.lengths - 1], last, encoder.item_vectors(), walk.targets
    )
    return StepParity(
        precision=precision,
        n_histories=len(rows),
        n_events=int(walk.lengths.sum()),
        max_error=error,
        ndcg_trained=ndcg(trained, 10),
        ndcg_graph=ndcg(graphs, 10),
        top_overlap=overlap,
        graph_bytes=len(graph),
        us_one=us_one,
        us_64=us_64,
    )


def _ranked(
    trained: Floats, graphs: Floats, table: Floats, targets: npt.NDArray[np.int32]
) -> tuple[Places, Places, float]:
    """Places of the targets by the trained vectors and by those of the graph, (n,) each, and `_top_overlap`."""
    by_trained, by_graph, overlaps = [], [], []
    size = max(1, SCORES_AT_ONCE // len(table))
    for begin in range(0, len(targets), size):
        some = slice(begin, begin + size)
        one, other = (vectors[some] @ table[:, :-1].T + table[:, -1] for vectors in (trained, graphs))
        by_trained.append(places_in_scores(one, targets[some]))
        by_graph.append(places_in_scores(other, targets[some]))
        overlaps += [_top_overlap(one, other)] * len(one)
    return np.concatenate(by_trained), np.concatenate(by_graph), float(np.mean(overlaps))


def _top_overlap(one: Floats, other: Floats) -> float:
    width = min(TOP, one.shape[1])
    best = [np.argpartition(-scores, width - 1, axis=1)[:, :width] for scores in (one, other)]
    return float(np.mean([len(np.intersect1d(a, b)) / width for a, b in zip(*best, strict=True)]))


def _times_us(sessions: list[onnxruntime.InferenceSession], n_users: int) -> list[float]:
    """Median microseconds of a call of each, in turns, so that a busy moment slows all alike."""
    rng = np.random.default_rng(0)
    feed = {
        each.name: rng.normal(size=(n_users, each.shape[1])).astype(np.float32) for each in sessions[0].get_inputs()
    }
    times = np.empty((len(sessions), TURNS * CALLS))
    for turn in range(TURNS):
        for number, session in enumerate(sessions):
            session.run(None, feed)
            for call in range(turn * CALLS, (turn + 1) * CALLS):
                started = time.perf_counter_ns()
                session.run(None, feed)
                times[number, call] = (time.perf_counter_ns() - started) / 1e3
    return [float(value) for value in np.median(times, axis=1)]
