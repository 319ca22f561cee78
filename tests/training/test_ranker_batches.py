"""Every list is seen once per epoch, with its target and without repeats."""

import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.training.ranker_batches import draw_places, learn_standardisation, ranker_batches


def test_drawn_places_hold_the_target_no_place_twice_and_padding_only_when_short():
    rng = np.random.default_rng(0)
    valid = np.arange(50) < rng.integers(3, 51, 200)[:, None]
    targets = (rng.random(200) * valid.sum(axis=1)).astype(np.int32)
    places = draw_places(valid, targets, 10, rng)
    assert places.shape == (200, 10)
    for row, target, drawn in zip(valid, targets, places, strict=True):
        assert target in drawn
        assert len(set(drawn)) == 10
        assert row[drawn].sum() == min(10, row.sum())


def test_every_other_candidate_is_drawn_equally_often():
    valid = np.ones((4_000, 20), bool)
    places = draw_places(valid, np.zeros(4_000, np.int32), 5, np.random.default_rng(0))
    counts = np.bincount(places.ravel(), minlength=20)
    assert counts[0] == 4_000
    expected = 4_000 * 4 / 19
    assert np.abs(counts[1:] - expected).max() < 5 * expected**0.5


def test_no_sampling_takes_every_candidate():
    valid = np.ones((2, 7), bool)
    for n_sampled in (0, 7, 100):
        places = draw_places(valid, np.array([3, 0]), n_sampled, np.random.default_rng(0))
        assert places.tolist() == [list(range(7))] * 2


def test_an_epoch_shows_each_named_list_once_and_its_own_parts_together():
    lists = planted_lists(n_lists=20, shortest=5)
    numbers = np.arange(3, 20)
    batches = list(ranker_batches(lists, numbers, batch_lists=4, sampled_candidates=8, rng=np.random.default_rng(0)))
    assert [len(b.target) for b in batches] == [4, 4, 4, 4, 1]
    seen = []
    for batch in batches:
        for n in range(len(batch.target)):
            number = int(np.flatnonzero((lists.user == batch.user[n].numpy()).all(axis=1))[0])
            seen.append(number)
            place = lists.target[number]
            assert np.array_equal(batch.cross[n, batch.target[n]].numpy(), lists.cross[number, place])
            assert np.array_equal(batch.item[n, batch.target[n]].numpy(), lists.item_inputs[lists.rows[number, place]])
            assert batch.valid[n].sum() == min(8, (lists.rows[number] >= 0).sum())
    assert sorted(seen) == numbers.tolist()


def test_standardisation_is_learned_from_the_named_lists_and_without_padding():
    lists = planted_lists(n_lists=40, shortest=10)
    lists.cross[lists.rows < 0] = 1e4
    lists.cross[20:] = 5e3
    torch.manual_seed(0)
    model = random_ranker(small_config(), lists)
    learn_standardisation(model, lists, np.arange(20), np.random.default_rng(0))
    known = lists.cross[:20][lists.rows[:20] >= 0]
    assert model.cross_inputs.mean.numpy() == pytest.approx(known.mean(axis=0), rel=1e-5)
    assert model.item_inputs.mean.numpy() == pytest.approx(lists.item_inputs.mean(axis=0), rel=1e-5)
