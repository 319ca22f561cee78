"""The product-quantised index keeps the promise of all vector indexes."""

import pytest

from tests.index.suite import Build, VectorIndexSuite
from upnext.index.pq import PqIndex


class TestPqIndex(VectorIndexSuite):
    @pytest.fixture
    def build(self) -> Build:
        return PqIndex.build
