"""Dropping a share of the values, quickly, keeps what plain dropout promises."""

import torch

from upnext.models.dropout import Dropout


def test_the_asked_share_becomes_zero_and_the_mean_stays():
    torch.manual_seed(3)
    dropped = Dropout(0.25).train()(torch.ones(1_000, 1_001))
    assert abs((dropped == 0).float().mean() - 0.25) < 0.002
    assert abs(dropped.mean() - 1) < 0.002
    assert torch.equal(dropped.unique(), torch.tensor([0, 4 / 3]))


def test_every_bit_of_the_drawn_words_is_used():
    torch.manual_seed(3)
    dropped = Dropout(0.25).train()(torch.ones(100_000, 8))
    assert (abs((dropped == 0).float().mean(0) - 0.25) < 0.01).all()


def test_nothing_is_dropped_outside_training_or_at_rate_zero():
    x = torch.ones(10)
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_one_seed_drops_the_same_values():
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(Dropout(0.5).train()(torch.ones(64)))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_the_gradient_flows_through_what_was_kept_only():
    x = torch.ones(100, requires_grad=True)
    kept = Dropout(0.5).train()(x)
    kept.sum().backward()
    assert torch.equal(x.grad, kept.detach())
