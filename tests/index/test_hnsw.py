"""The hnsw index keeps the promise of all vector indexes."""

import pytest

from tests.index.suite import Build, VectorIndexSuite
from upnext.index.hnsw import HnswIndex


class TestHnswIndex(VectorIndexSuite):
    @pytest.fixture
    def build(self) -> Build:
        return HnswIndex.build
