"""The flat index keeps the promise of all vector indexes."""

import pytest

from tests.index.suite import Build, VectorIndexSuite
from upnext.index.flat import FlatIndex


class TestFlatIndex(VectorIndexSuite):
    @pytest.fixture
    def build(self) -> Build:
        return FlatIndex.build
