"""The scan against the loop it stands for."""

import pytest
import torch

from upnext.models.linear_scan import gated_scan, linear_scan


def inputs(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(2, 3, length, 4, generator=generator, dtype=torch.float64)
    decay = torch.randn(2, 4, generator=generator, dtype=torch.float64) * 0.6
    return x, decay


def looped(x: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    factor, h, states = torch.complex(*decay), torch.zeros(3, 4, dtype=torch.complex128), []
    for place in torch.complex(x[0], x[1]).unbind(1):
        h = factor * h + place
        states.append(h)
    together = torch.stack(states, dim=1)
    return torch.stack([together.real, together.imag])


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 10, 150])
def test_the_scan_equals_one_step_after_the_other(length):
    x, decay = inputs(length)
    torch.testing.assert_close(linear_scan(x, decay), looped(x, decay))


@pytest.mark.parametrize("length", [1, 2, 9, 23])
def test_its_gradients_equal_those_of_the_loop(length):
    x, decay = (value.requires_grad_() for value in inputs(length))
    weights = torch.randn(2, 3, length, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad((looped(x, decay) * weights).sum(), (x, decay))
    found = torch.autograd.grad((linear_scan(x, decay) * weights).sum(), (x, decay))
    torch.testing.assert_close(found, expected)


def test_a_decay_of_one_half_halves_an_impulse_each_step():
    x = torch.zeros(2, 1, 4, 1)
    x[0, 0, 0, 0] = 8.0
    decay = torch.tensor([[0.5], [0.0]])
    assert linear_scan(x, decay)[0].flatten().tolist() == [8.0, 4.0, 2.0, 1.0]


def test_a_decay_of_i_turns_an_impulse_by_a_quarter_each_step():
    x = torch.zeros(2, 1, 4, 1)
    x[0, 0, 0, 0] = 1.0
    decay = torch.tensor([[0.0], [1.0]])
    assert linear_scan(x, decay)[:, 0, :, 0].T.tolist() == [[1, 0], [0, 1], [-1, 0], [0, -1]]


def gated_loop(x: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    h, states = torch.zeros_like(x[0]), []
    for place, factor in zip(x, decay, strict=True):
        h = factor * h + place
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_scan_with_a_decay_per_place_equals_the_loop_and_so_do_its_gradients(length):
    generator = torch.Generator().manual_seed(length)
    x, decay, weights = torch.randn(3, length, 3, 4, generator=generator, dtype=torch.float64)
    x, decay = x.requires_grad_(), decay.requires_grad_()
    torch.testing.assert_close(gated_scan(x, decay), gated_loop(x, decay))
    expected = torch.autograd.grad((gated_loop(x, decay) * weights).sum(), (x, decay), materialize_grads=True)
    found = torch.autograd.grad((gated_scan(x, decay) * weights).sum(), (x, decay))
    torch.testing.assert_close(found, expected)


def test_a_gate_that_shuts_forgets_all_before():
    x, decay = torch.tensor([4.0, 4.0, 1.0]).view(3, 1, 1), torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1)
    assert gated_scan(x, decay).flatten().tolist() == [4.0, 8.0, 1.0]
