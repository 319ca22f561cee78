"""The ivf index keeps the promise of all vector indexes."""

import numpy as np
import pytest

from tests.index.suite import Build, VectorIndexSuite, clustered
from upnext.index.interface import Allowed
from upnext.index.ivf import IvfIndex


class TestIvfIndex(VectorIndexSuite):
    @pytest.fixture
    def build(self) -> Build:
        return IvfIndex.build


def test_the_rarer_allowed_rows_are_the_more_lists_are_read() -> None:
    index = IvfIndex.build(clustered(4000, 33, bias=False)[0])
    index.set_effort(10)
    for every, nprobe in ((1, 10), (4, 20), (100, 100), (4000, index.parameters["nlist"])):
        _, parameters = index._filtered(Allowed.of(np.arange(4000) % every == 0))
        assert parameters.nprobe == nprobe
