"""Training the ranker finds the planted order, repeats itself, stops in time and survives being interrupted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, small_config
from upnext.errors import TrainingError
from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.training.metrics import ndcg, places_in_scores
from upnext.training.ranker_batches import RankerBatch
from upnext.training.ranker_loop import ranker_loss, task_loss, train_ranker


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(model: RankerDnn) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def quality(model: RankerDnn, lists: RankerLists, exit_depth: int) -> float:
    return ndcg(places_in_scores(score_lists(model, lists, exit_depth), lists.target), 10)


def test_the_planted_order_is_learned_at_every_exit():
    model = train_ranker(planted_lists(800), small_config(prior_column=0, epochs=8, patience=8), seed=1)
    unseen = planted_lists(300, seed=9, shortest=10)
    prior = ndcg(places_in_scores(np.where(unseen.rows >= 0, unseen.cross[:, :, 0], -np.inf), unseen.target), 10)
    assert prior < 0.65
    for depth in (1, 2, 3):
        assert quality(model, unseen, depth) > 0.9


def test_one_seed_gives_identical_weights_and_another_does_not():
    runs = [weights(train_ranker(planted_lists(), small_config(dropout=0.1), seed=seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_ranker(planted_lists(60), small_config(epochs=1), seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_an_interrupted_run_taken_up_again_ends_with_the_same_weights(tmp_path):
    config, told = small_config(dropout=0.1, epochs=4), []

    def pull_the_plug(epoch, epochs, message):
        told.append(epoch)
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_ranker(planted_lists(), config, seed=1, checkpoint=tmp_path / "run", progress=pull_the_plug)
    resumed = train_ranker(
        planted_lists(), config, seed=1, checkpoint=tmp_path / "run", progress=lambda epoch, *_: told.append(epoch)
    )
    assert told == [1, 2, 3, 4]
    assert weights(resumed) == weights(train_ranker(planted_lists(), config, seed=1))


@pytest.mark.parametrize("change", ["lists", "settings", "seed"])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change):
    file = tmp_path / "run"
    train_ranker(planted_lists(60), small_config(epochs=1), seed=1, checkpoint=file)
    lists = planted_lists(60, seed=1 if change == "lists" else 0)
    config = small_config(epochs=2 if change == "settings" else 1)
    with pytest.raises(TrainingError, match="other settings, seed or data"):
        train_ranker(lists, config, seed=2 if change == "seed" else 1, checkpoint=file)


def test_a_run_that_only_gets_worse_stops_early_and_returns_the_prior():
    lists = planted_lists()
    lists.target[:] = lists.cross[:, :, 0].argmax(axis=1)  # the prior is perfect already
    epochs = []
    model = train_ranker(
        lists,
        small_config(prior_column=0, epochs=9, patience=2, learning_rate=3.0),
        seed=1,
        progress=lambda epoch, *_: epochs.append(epoch),
    )
    assert epochs == [1, 2]
    assert quality(model, lists, 3) == 1.0


def test_too_few_lists_are_refused():
    with pytest.raises(TrainingError, match="1 lists are too few"):
        train_ranker(planted_lists(1), small_config(), seed=1)


def batch(valid: list[list[bool]], target: list[int]) -> RankerBatch:
    nothing = torch.zeros(0)
    return RankerBatch(nothing, nothing, nothing, torch.tensor(valid), torch.tensor(target))


def test_the_loss_of_equal_scores_is_the_logarithm_of_the_valid_candidates():
    loss = ranker_loss(torch.zeros(2, 1, 4), batch([[True, True, True, False]], [1]), distillation=1.0)
    assert loss.item() == pytest.approx(np.log(3))


def test_the_distance_to_the_deepest_exit_is_added_and_does_not_pull_at_it():
    scores = torch.tensor([[[0.0, 0.0]], [[np.log(3.0), 0.0]]], requires_grad=True)  # shares ½ ½ and ¾ ¼
    case = batch([[True, True]], [0])
    plain, taught = (ranker_loss(scores, case, distillation=d) for d in (0.0, 1.0))
    distance = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    assert plain.item() == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)
    assert (taught - plain).item() == pytest.approx(distance, rel=1e-5)
    gradient = torch.autograd.grad(taught - plain, scores)[0]
    assert gradient[1].abs().max() == 0
    assert gradient[0].abs().max() > 0


def test_a_task_that_nobody_knows_of_costs_nothing_and_a_known_one_its_cross_entropy():
    case = replace(
        batch([[True, True]] * 2, [0, 1]), labels=torch.tensor([[np.nan, 1.0, np.nan], [np.nan, 0.0, np.nan]])
    )
    logits = torch.zeros(2, 2, 3, requires_grad=True)
    loss = task_loss(logits, case, (1.0, 0.5, 1.0))
    assert loss.item() == pytest.approx(0.5 * np.log(2))
    gradient = torch.autograd.grad(loss, logits)[0]
    assert gradient[:, :, [0, 2]].abs().max() == 0
    assert gradient[:, :, 1].abs().min() > 0


def test_lists_count_by_their_weight():
    scores = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
    case = batch([[True, True]] * 2, [0, 0])
    first, second = (ranker_loss(scores[:, at : at + 1], batch([[True, True]], [0]), 0.0).item() for at in (0, 1))
    found = ranker_loss(scores, replace(case, weight=torch.tensor([3.0, 1.0])), 0.0).item()
    assert found == pytest.approx((3 * first + second) / 4)
    labelled = replace(case, labels=torch.tensor([[1.0] * 3, [0.0] * 3]), weight=torch.tensor([0.0, 1.0]))
    sure = torch.tensor([[[9.0] * 3, [-9.0] * 3]])
    assert task_loss(-sure, labelled, (1.0, 0.0, 0.0)).item() == pytest.approx(9, rel=1e-2)


def test_what_is_liked_is_learnt_beside_what_is_chosen_without_harm_to_it():
    lists = planted_lists(800)
    liked = lists.cross[np.arange(800), lists.target, 1] > 100
    tasks = np.stack([np.full(800, np.nan), liked, np.full(800, np.nan)], axis=1).astype(np.float32)
    labelled = replace(lists, tasks=tasks)
    config = small_config(prior_column=0, epochs=8, patience=8)
    model = train_ranker(labelled, config, seed=1)
    item, user, cross = (torch.from_numpy(a) for a in (lists.item_inputs[lists.rows], lists.user, lists.cross))
    with torch.no_grad():
        logits = model.task_logits(item, user, cross, torch.from_numpy(lists.target.astype(np.int64)))[1]
    assert (((logits[-1, :, 1] > 0).numpy() == liked).mean()) > 0.9
    assert logits[:, :, [0, 2]].abs().max() == 0  # never told
    unseen = planted_lists(300, seed=9)
    assert quality(model, unseen, 3) > quality(train_ranker(lists, config, seed=1), unseen, 3) - 0.02
