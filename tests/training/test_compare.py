"""A difference is called real when it is, and seldom when it is not."""

import numpy as np
import pytest

from upnext.errors import TrainingError
from upnext.training.compare import cases_needed, common_cases, compare, holm, sign_flip_p
from upnext.training.evaluate import Answered
from upnext.training.metrics import MISSED

FIGURES = ("ndcg@10", "hr@10", "mrr@10", "recall@500")


def answers(places: np.ndarray, events: np.ndarray | None = None, system: str = "ranked") -> Answered:
    n = len(places)
    events = np.arange(n) if events is None else events
    users = events.astype(np.int32)
    return Answered(events, users, np.full(n, 9), np.zeros(n, np.int32), FIGURES, {system: places})


def random_places(n: int, seed: int, share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < share, rng.integers(0, 10, n), MISSED)


def test_a_release_never_differs_from_itself() -> None:
    differences = compare(answers(random_places(500, 0)), answers(random_places(500, 0)))
    assert [each.figure for each in differences] == list(FIGURES)
    assert {(each.verdict, each.difference, each.p, each.cases_needed) for each in differences} == {
        ("not told apart", 0.0, 1.0, None)
    }
    assert differences[0].in_words == "not told apart: no difference seen"


def test_a_clearly_better_system_is_really_better_and_the_other_way_round_worse() -> None:
    plain, better = answers(random_places(800, 1, share=0.3)), answers(random_places(800, 2, share=0.5))
    forth, back = compare(plain, better)[1], compare(better, plain)[1]
    assert (forth.figure, forth.verdict) == ("hr@10", "real")
    assert forth.difference == pytest.approx(0.2, abs=0.07)
    assert forth.interval[0] > 0
    assert forth.in_words == "real: the second is better"
    assert back.in_words == "real: the second is worse"
    assert back.difference == -forth.difference


def test_a_small_difference_is_not_told_apart_and_needs_more_cases_than_there_are() -> None:
    places = random_places(300, 3)
    changed = places.copy()
    changed[:4] = [MISSED, 0, 0, 0]
    (hits,) = [each for each in compare(answers(places), answers(changed)) if each.figure == "hr@10"]
    assert hits.verdict == "not told apart"
    assert hits.cases_needed is not None
    assert hits.cases_needed > 300
    assert "would need about" in hits.in_words


@pytest.mark.parametrize("clustered", [False, True])
def test_without_a_difference_one_in_twenty_is_called_real(clustered: bool) -> None:
    rng = np.random.default_rng(4)
    users = np.arange(240) // (6 if clustered else 1)
    alarms = 0
    for trial in range(300):
        noise = rng.standard_normal((users.max() + 1, 1))[users] + 0.3 * rng.standard_normal((240, 1))
        alarms += sign_flip_p(noise, users, flips=399, seed=trial)[0] < 0.05
    assert 0.025 <= alarms / 300 <= 0.08


def test_over_several_figures_a_false_alarm_is_as_seldom_as_over_one() -> None:
    alarms = 0
    for trial in range(80):
        rng = np.random.default_rng(trial)
        one, other = (np.where(rng.random(80) < 0.3, rng.integers(0, 10, 80), MISSED) for _ in range(2))
        alarms += any(
            each.verdict == "real" for each in compare(answers(one), answers(other), resamples=100, seed=trial)
        )
    assert alarms / 80 <= 0.1


def test_the_permutation_test_agrees_with_counting_all_signs() -> None:
    values = np.array([3.0, 1.0, 2.0, 2.5])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T
    exact = (np.abs(signs @ values) >= values.sum()).mean()
    assert sign_flip_p(values[:, None], np.arange(4), flips=20_000)[0] == pytest.approx(exact, abs=0.006)


def test_holm_multiplies_the_smallest_by_all_the_next_by_one_less() -> None:
    assert holm(np.array([0.04, 0.01, 0.5, 0.03])).tolist() == pytest.approx([0.09, 0.04, 0.5, 0.09])


def test_as_many_cases_are_needed_as_the_textbook_says() -> None:
    # A mean of 0.1 with deviation 1: ((1.96 + 0.8416) / 0.1)² = 784.9 cases.
    assert cases_needed(0.1, 1 / np.sqrt(100), 100) == 785
    assert cases_needed(0.0, 0.1, 100) is None


def test_only_cases_that_both_were_asked_count_whatever_their_order() -> None:
    first = answers(np.arange(40), np.arange(40))
    second = answers(np.arange(40)[::-1].copy(), np.arange(20, 60)[::-1].copy())
    one, other = common_cases(first, second)
    assert one.events.tolist() == other.events.tolist() == list(range(20, 40))
    assert one.places["ranked"].tolist() == list(range(20, 40))
    assert other.places["ranked"].tolist() == list(range(20))


def test_releases_without_a_common_case_are_not_compared() -> None:
    with pytest.raises(TrainingError, match="train both on the same log"):
        compare(answers(np.zeros(20, np.int64), np.arange(20)), answers(np.zeros(20, np.int64), np.arange(50, 70)))
    with pytest.raises(TrainingError, match="fewer than 10 users"):
        compare(answers(np.zeros(5, np.int64)), answers(np.zeros(5, np.int64)))


def test_systems_that_only_one_has_are_left_out() -> None:
    assert compare(answers(random_places(50, 0)), answers(random_places(50, 0), system="other")) == []
