"""The ranker starts from its prior, scores candidates one by one, and ignores what never varied."""

import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.models.ranker_config import RankerConfig, TaskWeights
from upnext.models.ranker_dnn import RankerDnn, Standardise, score_lists


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("exit_depth", [1, 2, 3])
def test_the_untrained_ranker_scores_by_its_prior_column_at_every_exit(exit_depth):
    lists = planted_lists(n_lists=4)
    model = RankerDnn(
        small_config(prior_column=1, prior_weight=0.5), n_item_inputs=5, n_user_inputs=4, n_cross_inputs=3
    )
    model.cross_inputs.learn(np.full(3, 100.0), np.full(3, 7.0))
    model.start_from_prior()
    scores = score_lists(model, lists, exit_depth)
    assert scores == pytest.approx(0.5 * (lists.cross[:, :, 1] - 100), abs=1e-4)


def test_a_candidate_scores_the_same_whatever_else_is_in_its_list():
    lists = planted_lists(n_lists=1, n_candidates=40)
    model = random_ranker(small_config(), lists)
    item, user, cross = (torch.from_numpy(a) for a in (lists.item_inputs[lists.rows], lists.user, lists.cross))
    with torch.no_grad():
        whole, part = model(item, user, cross), model(item[:, 7:9], user, cross[:, 7:9])
    assert torch.allclose(whole[:, :, 7:9], part, rtol=1e-4, atol=1e-4)
    assert whole.std() > 0.1


def test_padded_places_score_minus_infinity_and_others_do_not():
    lists = planted_lists(n_lists=20, shortest=3)
    scores = score_lists(random_ranker(small_config(), lists), lists, batch_lists=7)
    assert np.array_equal(np.isneginf(scores), lists.rows < 0)
    assert (lists.rows < 0).any()


def test_layers_past_the_first_exit_start_as_the_identity():
    lists = planted_lists(n_lists=3)
    model = random_ranker(RankerConfig(), lists)
    for head in model.heads.parameters():
        head.data.fill_(1.0)
    model.wide.weight.data.zero_()
    shallow = score_lists(model, lists, 3)
    assert shallow == pytest.approx(score_lists(model, lists, 8), rel=1e-5)
    assert shallow.std() > 0


def test_standardised_columns_have_mean_zero_and_deviation_one():
    values = np.random.default_rng(0).normal(1e3, 50, (400, 2))
    inputs = Standardise(2)
    inputs.learn(values.mean(axis=0), values.std(axis=0))
    result = inputs(torch.from_numpy(values.astype(np.float32))).numpy()
    assert result.mean(axis=0) == pytest.approx([0, 0], abs=1e-4)
    assert result.std(axis=0) == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.parametrize("constant", [0.0, 1e6])
def test_a_column_that_never_varied_says_nothing_whatever_it_becomes(constant):
    inputs = Standardise(1)
    inputs.learn(np.array([constant]), np.array([constant * 1e-12]))
    assert inputs(torch.tensor([[constant], [constant + 1e9]])).tolist() == [[0.0], [0.0]]


def test_hidden_item_inputs_count_as_average():
    lists = planted_lists(n_lists=1)
    model = random_ranker(small_config(), lists)
    model.item_inputs.learn(np.full(5, 100.0), np.full(5, 7.0))
    item, user, cross = (torch.from_numpy(a) for a in (lists.item_inputs[lists.rows], lists.user, lists.cross))
    with torch.no_grad():
        hidden = model(item, user, cross, torch.zeros(1, 40, 1))
        average = model(torch.full_like(item, 100.0), user, cross)
        shown = model(item, user, cross)
    assert torch.equal(hidden, average)
    assert not torch.allclose(hidden, shown)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_mode_as_it_found_it(training):
    lists = planted_lists(n_lists=2)
    model = random_ranker(small_config(), lists).train(training)
    score_lists(model, lists)
    assert model.training is training


def test_the_score_is_the_weighted_sum_of_the_tasks_as_one_head():
    lists = planted_lists(n_lists=3)
    weights = TaskWeights(click=1.0, complete=0.5, like=0.0, dislike=-2.0)
    model = random_ranker(small_config(score_weights=weights), lists)
    for head in model.task_heads.parameters():
        head.data.normal_(std=0.1)
    item, user, cross = (torch.from_numpy(a) for a in (lists.item_inputs[lists.rows], lists.user, lists.cross))
    target = torch.from_numpy(lists.target.astype(np.int64))
    with torch.no_grad():
        scores = model(item, user, cross)
        clicks, tasks = model.task_logits(item, user, cross, target)
        offsets = torch.stack([head.bias for head in model.task_heads])
    of_target = scores[:, torch.arange(3), target] - clicks[:, torch.arange(3), target]
    expected = ((tasks - offsets[:, None]) * torch.tensor([0.5, 0.0, -2.0])).sum(dim=2)
    assert torch.allclose(of_target, expected, rtol=1e-3, atol=1e-2)
    assert expected.abs().mean() > 0.1


def test_a_wider_layer_after_the_first_exit_hands_on_what_it_gets_and_has_more_to_learn_with():
    torch.manual_seed(0)
    model = random_ranker(small_config(hidden=(16, 32, 8), exits=(1, 3)), planted_lists(n_lists=1))
    wider, narrower = model.hidden[1], model.hidden[2]
    assert torch.equal(wider.weight[:16], torch.eye(16))
    assert (wider.weight[16:].abs().sum(dim=1) > 0).all()
    assert torch.equal(narrower.weight, torch.eye(8, 32))
