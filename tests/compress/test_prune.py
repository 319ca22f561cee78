"""What pruning takes away is whole neurons, the least important first, and nothing else changes."""

import msgspec
import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.compress.finetune import fine_tune
from upnext.compress.prune import by_importance, prune, pruned_config
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.training.metrics import ndcg, places_in_scores
from upnext.training.ranker_batches import learn_standardisation
from upnext.training.ranker_loop import train_ranker

WIDE = small_config(first_width=64, hidden=(48, 32, 32))


@pytest.fixture
def lists() -> RankerLists:
    return planted_lists(n_lists=20)


@pytest.fixture
def model(lists: RankerLists) -> RankerDnn:
    torch.manual_seed(0)
    model = random_ranker(WIDE, lists)
    for tasks in model.task_heads.parameters():
        tasks.data.normal_()
    learn_standardisation(model, lists, np.arange(len(lists)), np.random.default_rng(0))
    return model


def test_sorting_the_neurons_changes_no_score(model, lists):
    ordered = by_importance(model)
    assert not torch.equal(ordered.item_side.weight, model.item_side.weight)
    for depth in (1, 2, 3):
        assert score_lists(ordered, lists, depth) == pytest.approx(score_lists(model, lists, depth), abs=1e-4)


@torch.no_grad()
def test_neurons_that_lead_nowhere_go_first_and_their_loss_changes_no_score(model, lists):
    generator = torch.Generator().manual_seed(1)
    for number, (layer, width) in enumerate(zip(model.hidden, (64, 48, 32), strict=True)):
        silent = torch.randperm(width, generator=generator)[: width // 2]
        layer.weight[:, silent] = 0
        if number:  # what a head reads of them, alone or for other tasks
            model.heads[number - 1].weight[:, silent] = 0
            model.task_heads[number - 1].weight[:, silent] = 0
    for linear in (model.heads[2], model.task_heads[2]):
        linear.weight[:, 16:32] = 0
    smaller = prune(by_importance(model), 0.5)
    assert smaller.config.hidden == (32, 16, 16)  # 24 is no multiple of 16: what is rounded up keeps silent ones
    for depth in (1, 2, 3):
        assert score_lists(smaller, lists, depth) == pytest.approx(score_lists(model, lists, depth), abs=1e-4)


@torch.no_grad()
def test_importance_does_not_depend_on_how_a_neuron_is_scaled(model):
    before = by_importance(model).hidden[0].bias.clone()
    model.hidden[0].bias.copy_(torch.arange(48.0))
    marked = by_importance(model).hidden[0].bias.clone()
    model.hidden[0].weight[3] *= 8
    model.hidden[1].weight[:, 3] /= 8
    for head in (model.heads[0], model.task_heads[0]):
        head.weight[:, 3] /= 8
    assert torch.equal(by_importance(model).hidden[0].bias, marked)
    assert not torch.equal(marked, before)


def test_every_width_has_the_first_columns_of_one_item_table(model):
    ordered = by_importance(model)
    for share in (0.5, 0.25):
        smaller = prune(ordered, share)
        width = smaller.config.first_width
        assert width == 64 * share
        assert torch.equal(smaller.item_side.weight, ordered.item_side.weight[:width])


@pytest.mark.parametrize(
    ("share", "widths"),
    [
        (1.0, (256, 256, 128, 64, 8)),
        (0.5, (128, 128, 64, 32, 8)),
        (0.35, (96, 96, 48, 16, 8)),
        (0.01, (16, 16, 16, 16, 8)),
    ],
)
def test_widths_are_whole_multiples_of_16_where_a_layer_has_as_many(share, widths):
    config = RankerConfig(first_width=256, hidden=(256, 128, 64, 8), exits=(4,))
    pruned = pruned_config(config, share)
    assert (pruned.first_width, *pruned.hidden) == widths
    assert msgspec.structs.replace(pruned, first_width=256, hidden=config.hidden) == config


@pytest.fixture(scope="module")
def taught() -> RankerDnn:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = train_ranker(planted_lists(), WIDE, seed=1)
    torch.set_num_threads(before)
    return model


def quality(model: RankerDnn) -> float:
    unseen = planted_lists(100, seed=9)
    return ndcg(places_in_scores(score_lists(model, unseen), unseen.target), 10)


def test_fine_tuning_brings_back_what_pruning_took_and_leaves_teacher_and_item_side_alone(taught):
    ordered = by_importance(taught)
    known = {name: tensor.clone() for name, tensor in ordered.state_dict().items()}
    smaller = prune(ordered, 0.25)
    raw, item_side = quality(smaller), smaller.item_side.weight.detach().clone()
    fine_tune(smaller, ordered, planted_lists(), epochs=4, seed=0)
    assert raw < 0.9 * quality(taught)
    assert quality(smaller) > 0.95 * quality(taught)
    assert torch.equal(smaller.item_side.weight, item_side)
    assert not smaller.training
    assert all(torch.equal(tensor, known[name]) for name, tensor in ordered.state_dict().items())


def test_one_seed_gives_one_fine_tuned_ranker(taught):
    ordered, lists = by_importance(taught), planted_lists(40)
    first, same, other = (fine_tune(prune(ordered, 0.5), ordered, lists, epochs=1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.hidden[0].weight, same.hidden[0].weight)
    assert not torch.equal(first.hidden[0].weight, other.hidden[0].weight)
