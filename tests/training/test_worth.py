"""Learning is worth its lists where it gains more than luck may make it, and not where there is nothing to learn."""

import numpy as np

from upnext.cli.train_command import worth_line
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_lists import RankerLists
from upnext.training.worth import Worth, worth_learning

CONFIG = RankerConfig(
    first_width=8, hidden=(8,), exits=(1,), epochs=6, patience=6, prior_column=0, batch_lists=16, sampled_candidates=0,
    learning_rate=0.02, dropout=0.0,
)  # fmt: skip


def lists(n: int, *, told_by: int, seed: int = 0) -> RankerLists:
    """Of ten candidates the largest in cross column `told_by` is the target; the others are noise."""
    rng = np.random.default_rng(seed)
    cross = rng.normal(size=(n, 10, 3)).astype(np.float16)
    return RankerLists(
        np.zeros((20, 2), np.float32), np.zeros((n, 1), np.float32), rng.integers(0, 20, (n, 10)).astype(np.int32),
        cross, cross[:, :, told_by].argmax(axis=1).astype(np.int32), None,
    )  # fmt: skip


def test_what_the_start_does_not_say_is_worth_learning() -> None:
    told: list[tuple[int, int, str]] = []
    worth = worth_learning(lists(240, told_by=1), CONFIG, seed=0, progress=lambda *what: told.append(what))
    assert worth.real
    assert worth.start < 0.6
    assert worth.gain > 0.2
    assert (worth.n_lists, [done for done, _, _ in told]) == (240, [1, 2, 3])


def test_where_the_start_says_all_there_is_nothing_to_gain() -> None:
    worth = worth_learning(lists(120, told_by=0), CONFIG, seed=0)
    assert worth.start == 1.0
    assert worth.gain <= 0
    assert not worth.real


def test_noise_is_not_worth_learning() -> None:
    noise = lists(150, told_by=0)
    rng = np.random.default_rng(1)
    shuffled = RankerLists(
        noise.item_inputs, noise.user, noise.rows, noise.cross, rng.integers(0, 10, 150).astype(np.int32), None
    )
    assert not worth_learning(shuffled, CONFIG, seed=0).real


def test_a_gain_is_real_beyond_its_standard_error() -> None:
    assert Worth(start=0.1, gain=0.011, error=0.01, n_lists=9).real
    assert not Worth(start=0.1, gain=0.01, error=0.01, n_lists=9).real


def test_a_person_is_told_whether_the_ranker_has_learnt() -> None:
    asked = {"start": 0.1, "error": 0.004, "n_lists": 1_884}
    assert worth_line(None) is None
    assert worth_line({**asked, "gain": -0.012}) == (
        "learning from 1,884 lists changes NDCG@10 by -0.0120 ± 0.0040, on lists not learnt from: the ranker keeps the "
        "order that it starts with (lists.few)"
    )
    assert "has learnt" in str(worth_line({**asked, "gain": 0.005}))
