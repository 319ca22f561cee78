"""The chunked and the sampled loss against the plain one."""

import numpy as np
import pytest
import torch

from upnext.training import softmax
from upnext.training.softmax import NegativeSampler, full_softmax_loss, sampled_softmax_loss


def example(n: int = 37, n_items: int = 23) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    hidden, table, bias = (torch.randn(*shape, generator=generator) for shape in ((n, 6), (n_items, 6), (n_items,)))
    return [hidden.requires_grad_(), table.requires_grad_(), bias.requires_grad_(), torch.arange(n) % n_items]


def plain(hidden, table, bias, targets):
    return torch.nn.functional.cross_entropy(hidden @ table.T + bias, targets)


@pytest.mark.parametrize("chunk_logits", [1, 100, 10**6])
def test_the_chunked_loss_and_its_gradients_are_those_of_cross_entropy(monkeypatch, chunk_logits):
    monkeypatch.setattr(softmax, "CHUNK_LOGITS", chunk_logits)
    *parameters, targets = example()
    expected, found = plain(*parameters, targets), full_softmax_loss(*parameters, targets)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found * 3, parameters), torch.autograd.grad(expected * 3, parameters), atol=1e-6, rtol=1e-5
    )


def test_a_certain_prediction_costs_nothing_and_is_finite():
    table = torch.eye(3) * 200
    loss = full_softmax_loss(torch.eye(3), table, torch.zeros(3), torch.arange(3))
    assert loss.item() == 0
    assert full_softmax_loss(torch.eye(3), table, torch.zeros(3), torch.tensor([1, 2, 0])).item() == 200


def test_with_every_item_drawn_once_the_sampled_loss_is_the_full_one():
    *parameters, targets = example()
    found = sampled_softmax_loss(*parameters, targets, torch.arange(23), torch.zeros(23))
    expected = plain(*parameters, targets)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters))


def test_a_draw_of_nothing_but_the_target_costs_nothing():
    *parameters, _ = example(n=2)
    only = torch.full((5,), 4)
    loss = sampled_softmax_loss(*parameters, torch.tensor([4, 4]), only, torch.zeros(5))
    assert loss.item() == 0
    assert all(gradient.abs().sum() == 0 for gradient in torch.autograd.grad(loss, parameters))


def test_many_negatives_from_a_skewed_draw_come_close_to_the_full_loss():
    *parameters, targets = example()
    torch.manual_seed(2)
    sampler = NegativeSampler(torch.arange(23) ** 2, 200_000, popularity_share=0.8)
    found = sampled_softmax_loss(*parameters, targets, *sampler.draw())
    torch.testing.assert_close(found, plain(*parameters, targets), atol=0.01, rtol=0)


def test_negatives_mix_popularity_with_the_whole_catalogue():
    torch.manual_seed(2)
    sampler = NegativeSampler(torch.tensor([0, 30, 10, 0]), 100_000, popularity_share=0.5)
    rows, log_expected = sampler.draw()
    drawn = np.bincount(rows.numpy(), minlength=4)
    expected = np.array([0.125, 0.5, 0.25, 0.125]) * 100_000
    np.testing.assert_allclose(drawn, expected, rtol=0.03)
    np.testing.assert_allclose(log_expected.exp().numpy(), expected[rows.numpy()], rtol=1e-5)
