"""What inputs are worth, by shuffling them; and the few that are kept."""

from dataclasses import replace

import numpy as np
import pytest

from tests.models.planted_lists import planted_lists
from upnext.errors import TrainingError
from upnext.features.spec import ITEM, USER, Chosen, FeatureSpec
from upnext.models.ranker_lists import RankerLists
from upnext.training.feature_report import features_png
from upnext.training.importance import (
    Feature,
    chosen_of,
    features_of,
    gains,
    permutation_importance,
    redundant,
    with_columns,
)  # fmt: skip
from upnext.training.probe import fit_probe
from upnext.training.selection import FeatureSettings, narrowed, select_features

PLANTED = [
    *(Feature("cross", f"c{place}") for place in range(3)),
    *(Feature("user", f"u{place}") for place in range(4)),
    *(Feature("item", f"i{place}") for place in range(5)),
]


def truth(lists: RankerLists) -> np.ndarray:
    """The rule that the lists were planted with."""
    cross, user = (lists.cross[:, :, 0] - 100) / 7, (lists.user[:, None, 0] + 100) / 7
    item = (lists.item_inputs[np.maximum(lists.rows, 0)][:, :, 0] - 100) / 7
    return np.where(lists.rows >= 0, 2 * cross + 3 * np.sign(user) * item, -np.inf)


def test_only_what_the_score_reads_is_worth_anything() -> None:
    lists = planted_lists(200)
    worths = permutation_importance(truth, lists, PLANTED, repeats=2, seed=0)
    worth = dict(zip(PLANTED, worths, strict=True))
    read = {Feature("cross", "c0"), Feature("user", "u0"), Feature("item", "i0")}
    assert all(worth[each].drop > 0.4 > 10 * worth[each].error > 0 for each in read)
    assert all(worth[each].drop == worth[each].error == 0 for each in PLANTED if each not in read)


def test_shuffling_works_on_a_copy_and_gives_the_same_for_the_same_seed() -> None:
    lists = planted_lists(40, shortest=10)
    before = [part.copy() for part in (lists.cross, lists.user, lists.item_inputs, lists.rows)]
    first, again, other = (permutation_importance(truth, lists, PLANTED, repeats=1, seed=seed) for seed in (0, 0, 1))
    for part, kept in zip((lists.cross, lists.user, lists.item_inputs, lists.rows), before, strict=True):
        np.testing.assert_array_equal(part, kept)
    assert first == again != other


def test_padded_places_are_not_shuffled_into_a_list() -> None:
    lists = planted_lists(60, shortest=8)
    lists.cross[lists.rows < 0] = 1e6

    def watched(asked: RankerLists) -> np.ndarray:
        assert asked.cross[asked.rows >= 0].max() < 1e5
        return truth(asked)

    permutation_importance(watched, lists, PLANTED, repeats=2, seed=3)


def test_of_near_duplicates_the_later_is_left_out_and_so_is_what_never_varies() -> None:
    lists, rng = planted_lists(80), np.random.default_rng(0)
    own, like = lists.cross[:, :, :1], lists.cross[:, :, :1] * -3 + 5
    by_list = np.broadcast_to(rng.normal(size=(80, 1, 1)).astype(np.float32), own.shape)
    noisy = own + 0.5 * own.std() * rng.normal(size=own.shape).astype(np.float32)
    wider = replace(lists, cross=np.concatenate([lists.cross, like, by_list, noisy], axis=2))
    names = [Feature("cross", name) for name in ("c0", "c1", "c2", "like c0", "same in a list", "noisy c0")]
    found = redundant(wider, [*names, *PLANTED[3:]])
    assert found == {names[3]: names[0], names[4]: None}


def test_columns_are_taken_by_their_names() -> None:
    lists = replace(planted_lists(10), tasks=None)
    given = FeatureSpec(user=tuple("abcd"), item=tuple("vwxyz"), cross=("p", "q", "r"))
    found = with_columns(lists, given, FeatureSpec(user=("d", "a"), item=("x",), cross=("r", "p")))
    np.testing.assert_array_equal(found.user, lists.user[:, [3, 0]])
    np.testing.assert_array_equal(found.item_inputs, lists.item_inputs[:, [2]])
    np.testing.assert_array_equal(found.cross, lists.cross[:, :, [2, 0]])
    with pytest.raises(ValueError):
        with_columns(lists, given, FeatureSpec(user=("e",), item=(), cross=()))


def test_features_and_chosen_inputs_are_the_same_both_ways() -> None:
    chosen = Chosen(cross=("a", "b"), user=("b",), item=("a", "c"))
    assert chosen_of(features_of(chosen)) == chosen


def test_a_narrowed_list_has_its_first_candidates_and_its_target() -> None:
    lists = planted_lists(50, 40)
    few = narrowed(lists, 10)
    assert few.rows.shape == (50, 10)
    every = np.arange(50)
    assert (few.rows[every, few.target] == lists.rows[every, lists.target]).all()
    assert (few.rows[:, :9] == lists.rows[:, :9]).all()
    inside = lists.target < 10
    assert (few.rows[inside] == lists.rows[inside, :10]).all()


def test_a_probe_learns_more_than_the_prior_and_untrained_orders_by_it() -> None:
    lists = planted_lists(400)
    score = fit_probe(lists.take(np.arange(300)), seed=0)
    fresh = lists.take(np.arange(300, 400))
    by_prior = gains(lambda asked: np.where(asked.rows >= 0, asked.cross[:, :, 0], -np.inf), fresh).mean()
    assert gains(score, fresh).mean() > by_prior + 0.2


def engineered_lists() -> tuple[RankerLists, FeatureSpec]:
    """Lists as an assembler makes them: the target has the largest `2 covisit + session_score + noise`."""
    rng, n = np.random.default_rng(0), 320
    cross = rng.normal(size=(n, 30, 12)).astype(np.float16)
    cross[:, :, 5] = 2 * cross[:, :, 4]
    target = (cross[:, :, 0] + 2.0 * cross[:, :, 3] + 0.1 * rng.normal(size=(n, 30))).argmax(axis=1)
    spec = FeatureSpec(
        user=("session_vector:0", *USER, "seen", "genre:a"), item=("session_bias", *ITEM, "promoted", "genre:a"),
        cross=("session_score", "user_score", "age", "covisit", "trend", "count_daily", *(f"n{at}" for at in range(6))),
    )  # fmt: skip
    rows = np.stack([rng.permutation(50)[:30] for _ in range(n)]).astype(np.int32)
    items, users = rng.normal(size=(50, 7)).astype(np.float32), rng.normal(size=(n, 4)).astype(np.float32)
    return RankerLists(items, users, rows, cross, target.astype(np.int32)), spec


def test_selection_keeps_what_matters_the_prior_and_what_every_ranker_has() -> None:
    lists, spec = engineered_lists()
    chosen, report = select_features(lists, spec, FeatureSettings(keep=8), 0, lambda done, total, remark: None)
    assert (chosen.user[0], chosen.item[:4]) == (USER[0], ITEM)
    assert chosen.cross[0] == "session_score"
    assert "covisit" in chosen.cross
    assert len(chosen.cross) + len(chosen.user) + len(chosen.item) == 8
    assert report.left_out == {"cross/count_daily": "trend"}
    by_name = {(line.side, line.name): line for line in report.features}
    assert max(by_name.values(), key=lambda line: line.importance).name == "covisit"
    assert by_name["cross", "covisit"].importance > 5 * by_name["cross", "covisit"].error
    assert sum(line.kept for line in report.features) == 8
    assert [point.n_features for point in report.curve] == [5, 8, 10, 18]
    assert [point.kept for point in report.curve] == [False, True, False, False]
    assert report.curve[0].ndcg > 0.7, "of the prior and the best four"
    assert features_png(report).startswith(b"\x89PNG")
    wanted = spec.with_chosen(chosen)
    assert wanted.user[0] == "session_vector:0"
    assert wanted.item[-1] == "genre:a"
    assert with_columns(lists, spec, wanted).cross.shape[2] == len(chosen.cross)


def test_too_few_lists_are_refused() -> None:
    lists, spec = engineered_lists()
    with pytest.raises(TrainingError, match=r"features\.select=false"):
        select_features(lists.take(np.arange(59)), spec, FeatureSettings(), 0, lambda done, total, remark: None)
