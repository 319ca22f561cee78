"""Whether a graph of anybody's own can take a part's place in a release: names, types, widths, answers.

It knows no release. What it checks once here would otherwise fail, or slowly mislead, in every request.
"""

from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from upnext.errors import ReleaseError
from upnext.release.onnx_session import open_session

Floats = npt.NDArray[np.float32]
Feed = dict[str, npt.NDArray[Any]]
TIMED_ROWS = 500
_TIMED_CALLS = 50
_TOLERANCE = 1e-3  # in standard deviations of the answers
_TYPES = {"tensor(float)": "float32", "tensor(int8)": "int8"}


def checked_ranker(graph: bytes, widths: Mapping[str, int]) -> tuple[onnxruntime.InferenceSession, float]:
    """The opened ranker graph and the median microseconds of a call with TIMED_ROWS candidates.

    `widths` are those of the inputs it may take: `user` (1, w), `cross` (n, w), and `item` (n, w) float32 or
    `item_hidden` (n, w) int8. Its output must be `score` (n,) float32: finite, and of each candidate alone. Raises
    `ReleaseError`, which says what is wrong with which input or output.
    """
    session = open_session(graph)
    _check_inputs(session, widths, {"item_hidden": "int8"})
    if not {"item", "item_hidden", "cross"} & {each.name for each in session.get_inputs()}:
        raise ReleaseError("the ranker takes nothing of its candidates; give it the input `item` or `cross`")
    _check_outputs(session, ["score"])
    feed = _made_up(session, widths, TIMED_ROWS)
    _check_answers(session, feed, {"score": (TIMED_ROWS,)}, whole=("user",))
    return session, _p50_us(session, feed)


def checked_step(graph: bytes, dim: int) -> tuple[onnxruntime.InferenceSession, float]:
    """The opened session step and the median microseconds of one event.

    Inputs `state` (n, any width) and `item_vector` (n, dim), outputs `new_state` like `state` and `vector` (n, dim),
    all float32; every session begins with a state of zeros. Raises as `checked_ranker`.
    """
    session = open_session(graph)
    sizes = {each.name: each.shape for each in session.get_inputs()}
    size = sizes["state"][1] if len(sizes.get("state", ())) == 2 else None
    if not isinstance(size, int):
        raise ReleaseError("the step needs an input `state` (n, width) whose width is a fixed number; export it so")
    widths = {"state": size, "item_vector": dim}
    _check_inputs(session, widths, {})
    for name in widths:
        if name not in sizes:
            raise ReleaseError(f"the step has no input `{name}`; it must take `state` and `item_vector`")
    _check_outputs(session, ["new_state", "vector"])
    shapes = {"new_state": (TIMED_ROWS, size), "vector": (TIMED_ROWS, dim)}
    _check_answers(session, _made_up(session, widths, TIMED_ROWS), shapes, whole=())
    begin = _made_up(session, widths, 1) | {"state": np.zeros((1, size), np.float32)}
    _check_answers(session, begin, {"new_state": (1, size), "vector": (1, dim)}, whole=())
    return session, _p50_us(session, begin)


def _check_inputs(session: onnxruntime.InferenceSession, widths: Mapping[str, int], types: Mapping[str, str]) -> None:
    for each in session.get_inputs():
        if each.name not in widths:
            raise ReleaseError(
                f"the graph has an input `{each.name}`, which nobody can give it; known are "
                f"{', '.join(f'`{name}`' for name in widths)}: rename it when you export"
            )
        wanted = types.get(each.name, "float32")
        if _TYPES.get(each.type) != wanted:
            raise ReleaseError(f"input `{each.name}` is {each.type}, but will be given {wanted}; export it as that")
        width = each.shape[-1] if len(each.shape) == 2 else None
        if width != widths[each.name]:
            raise ReleaseError(
                f"input `{each.name}` is of shape {each.shape}, but rows of {widths[each.name]} numbers will come; "
                "train it on the inputs of this release (`upnext release inputs`)"
            )
        if isinstance(each.shape[0], int) and each.name != "user":
            raise ReleaseError(
                f"input `{each.name}` takes {each.shape[0]} rows and no other number; make its first axis dynamic"
            )


def _check_outputs(session: onnxruntime.InferenceSession, names: list[str]) -> None:
    found = [each.name for each in session.get_outputs()]
    missing = [name for name in names if name not in found]
    if missing:
        raise ReleaseError(
            f"the graph has no output `{missing[0]}`, only {', '.join(found)}; rename it when you export"
        )


def _made_up(session: onnxruntime.InferenceSession, widths: Mapping[str, int], n: int) -> Feed:
    rng = np.random.default_rng(0)
    feed: Feed = {}
    for each in session.get_inputs():
        shape = (1 if each.name == "user" else n, widths[each.name])
        made = rng.integers(-127, 128, shape) if "int8" in each.type else rng.normal(size=shape)
        feed[each.name] = made.astype(np.int8 if "int8" in each.type else np.float32)
    return feed


def _check_answers(
    session: onnxruntime.InferenceSession, feed: Feed, shapes: Mapping[str, tuple[int, ...]], whole: tuple[str, ...]
) -> None:
    """All rows at once must give what some of them give, in another order; inputs in `whole` are given as they are."""
    answers = _run(session, list(shapes), feed)
    for (name, shape), found in zip(shapes.items(), answers, strict=True):
        if found.shape != shape or found.dtype != np.float32:
            raise ReleaseError(f"output `{name}` is {found.dtype} {found.shape}, but must be float32 {shape}")
        if not np.isfinite(found).all():
            raise ReleaseError(
                f"output `{name}` is not finite for inputs drawn from a normal distribution; look for a logarithm, "
                "a division or an overflow in the graph"
            )
    rows = next(iter(shapes.values()))[0]
    some = np.random.default_rng(1).permutation(rows)[: max(1, rows // 3)]
    few = _run(session, list(shapes), {name: each if name in whole else each[some] for name, each in feed.items()})
    for name, found, again in zip(shapes, answers, few, strict=True):
        if np.abs(found[some] - again).max() > _TOLERANCE * max(float(found.std()), 1e-6):
            raise ReleaseError(
                f"output `{name}` of a row changes with the other rows of the call; leave out what looks at the whole "
                "batch (batch normalisation in training mode, softmax over rows)"
            )


def _run(session: onnxruntime.InferenceSession, outputs: list[str], feed: Feed) -> list[npt.NDArray[Any]]:
    try:
        return list(session.run(outputs, feed))
    except Exception as error:  # the runtime's exceptions have no class of their own in common
        raise ReleaseError(f"the graph fails on {len(next(iter(feed.values())))} rows ({error})") from error


def _p50_us(session: onnxruntime.InferenceSession, feed: Feed) -> float:
    times_us = []
    for _ in range(_TIMED_CALLS):
        started = perf_counter_ns()
        session.run(None, feed)
        times_us.append((perf_counter_ns() - started) / 1e3)
    return float(np.median(times_us))
