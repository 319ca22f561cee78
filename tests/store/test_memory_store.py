"""The memory store keeps the promise of all stores."""

import pytest

from tests.store.suite import WaitingStoreSuite
from upnext.clock import ManualClock
from upnext.store.interface import Store
from upnext.store.memory_store import MemoryStore


class TestMemoryStore(WaitingStoreSuite):
    @pytest.fixture
    def store(self, clock: ManualClock) -> Store:
        return MemoryStore(clock)
