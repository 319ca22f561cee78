"""Weights of sources: places are exact, a good source is found out, and chance is not taken for it."""

import numpy as np
import pytest

from upnext.training.merge_weights import MergeCases, figures, learn_weights

SOURCES = ("good", "noise", "silent")
START = {"good": 0.3, "noise": 1.0, "silent": 0.5, "unasked": 0.3}


def gain(rank: int) -> float:
    return 1.0 / (61.0 + rank)


def cases_of(n_cases: int, rank_of_target, *, n: int = 100, seed: int = 0) -> MergeCases:
    """Two sources with `n` items each, all different but the target: "good" has it where `rank_of_target` says."""
    rng = np.random.default_rng(seed)
    gains, targets, sizes = [], [], [0]
    for case in range(n_cases):
        rank = rank_of_target(case, rng)
        good, noise = np.arange(n), n + rng.permutation(n)
        table = np.zeros((2 * n, 3), np.float32)
        table[good, 0] = table[noise, 1] = [gain(at) for at in range(n)]
        targets.append(2 * n * case + int(good[rank]))
        gains.append(table)
        sizes.append(2 * n)
    return MergeCases(SOURCES, np.concatenate(gains), np.cumsum(sizes), np.array(targets))


def test_places_are_those_of_the_merge() -> None:
    gains = np.array([[gain(0), 0], [gain(1), gain(0)], [0, gain(1)], [gain(0), 0], [0, gain(0)]], np.float32)
    cases = MergeCases(("a", "b"), gains, np.array([0, 3, 5]), np.array([2, 4]))
    assert cases.places(np.array([1, 1], np.float32)).tolist() == [3, 1.5], "of equals, the middle"
    assert cases.places(np.array([0.1, 1], np.float32)).tolist() == [2, 1]
    assert cases.take(np.array([1])).places(np.array([1, 0.5], np.float32)).tolist() == [2]


def test_what_no_source_had_is_nowhere() -> None:
    cases = MergeCases(("a",), np.array([[gain(0)]], np.float32), np.array([0, 1]), np.array([-1]))
    assert np.isinf(cases.places(np.ones(1, np.float32))).all()
    assert figures(cases, np.ones(1, np.float32), 10).recall_all == 0.0


def test_a_source_that_knows_better_comes_to_weigh_more() -> None:
    cases = cases_of(60, lambda case, rng: int(rng.integers(0, 30)))
    learnt = learn_weights(cases, START, 40, seed=1)
    assert learnt.kept
    assert learnt.weights["good"] == 1.0
    assert learnt.weights["noise"] < 0.5
    assert learnt.weights["silent"] == 0.5
    assert learnt.weights["unasked"] == 0.3
    assert learnt.before.recall_all < learnt.after.recall_all == 1.0
    assert learn_weights(cases, START, 40, seed=1) == learnt


def test_what_helps_only_the_half_that_was_learnt_from_is_not_kept() -> None:
    order = np.random.default_rng(1).permutation(40)  # as the cases are halved
    ours = set(order[:20].tolist())
    cases = cases_of(40, lambda case, rng: 60 if case in ours else 0)
    mirrored = cases.gains[:, [1, 0, 2]]  # for the other half it is the second source that knows
    swap = np.repeat([case not in ours for case in range(40)], 200)
    cases = MergeCases(SOURCES, np.where(swap[:, None], mirrored, cases.gains), cases.begins, cases.targets)
    learnt = learn_weights(cases, START, 70, seed=1)
    assert not learnt.kept
    assert learnt.weights == START
    assert learnt.after == learnt.before


@pytest.mark.parametrize("n_cases", [0, 1])
def test_too_few_cases_teach_nothing(n_cases: int) -> None:
    learnt = learn_weights(cases_of(1, lambda *_: 0).take(np.arange(n_cases)), START, 10, seed=0)
    assert not learnt.kept
    assert learnt.weights == START
