"""Four bits hold each block's weights to half a step, packed as the runtime reads them."""

import numpy as np
import pytest

from upnext.compress.int4 import ZERO, pack_int4, unpack_int4


@pytest.mark.parametrize(("n_in", "block"), [(64, 32), (48, 16), (16, 16), (20, 16)])
def test_unpacked_weights_lie_within_one_step_of_their_block(n_in, block):
    weight = np.random.default_rng(0).normal(size=(n_in, 24)).astype(np.float32)
    packed = pack_int4(weight)
    assert packed.block == block
    steps = np.repeat(np.abs(packed.scale), block, axis=1)[:, :n_in].T
    error = np.abs(unpack_int4(packed) - weight)
    assert (error <= steps * 1.001).all()  # a whole step at the end that reaches +7 only, half a step elsewhere
    assert np.median(error / steps) < 0.3


def test_whole_steps_are_kept_exactly():
    weight = np.arange(-8, 8, dtype=np.float32).repeat(2)[:, None] * np.array([[0.5, -3.0]], np.float32)
    assert np.array_equal(unpack_int4(pack_int4(weight)), weight)


def test_two_weights_share_a_byte_the_lower_half_first():
    weight = np.zeros((16, 1), np.float32)
    weight[0], weight[1] = -8, 3
    packed = pack_int4(weight)
    assert packed.scale.tolist() == [[1.0]]
    assert packed.values[0, 0, 0] == (-8 + ZERO) | (3 + ZERO) << 4
    assert packed.values.nbytes == 8


def test_a_block_of_zeros_stays_zero():
    assert not unpack_int4(pack_int4(np.zeros((32, 4), np.float32))).any()
