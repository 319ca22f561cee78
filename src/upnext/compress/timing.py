"""What graphs cost on this machine, measured in turns so that a busy moment slows all of them alike; judges nothing."""

import time

import numpy as np
import numpy.typing as npt
import onnxruntime

TIMED_ROWS = 500
"""Candidates per timed call, unless told otherwise."""

ROUNDS = 100
CALLS_PER_TURN = 3


def time_in_turns(sessions: list[onnxruntime.InferenceSession], n_rows: int = TIMED_ROWS) -> npt.NDArray[np.float64]:
    """Microseconds of every timed call of each ranker session, (n_sessions, n_calls) float64, on made-up inputs.

    A call scores `n_rows` candidates. Per round each session runs once unmeasured, to have its caches warm, and then
    CALLS_PER_TURN times.
    """
    feeds = [_feed(session, n_rows) for session in sessions]
    times_us = np.empty((len(sessions), ROUNDS * CALLS_PER_TURN))
    for turn in range(ROUNDS):
        for number, (session, feed) in enumerate(zip(sessions, feeds, strict=True)):
            session.run(None, feed)
            for call in range(turn * CALLS_PER_TURN, (turn + 1) * CALLS_PER_TURN):
                started = time.perf_counter_ns()
                session.run(None, feed)
                times_us[number, call] = (time.perf_counter_ns() - started) / 1e3
    return times_us


def _feed(session: onnxruntime.InferenceSession, n_rows: int) -> dict[str, npt.NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    item, user, cross = session.get_inputs()
    hidden = rng.integers(-127, 128, (n_rows, item.shape[1]))
    return {
        "item_hidden": hidden.astype(np.int8 if "int8" in item.type else np.float32),
        "user": rng.normal(size=user.shape).astype(np.float32),
        "cross": rng.normal(size=(n_rows, cross.shape[1])).astype(np.float32),
    }
