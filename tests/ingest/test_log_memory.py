"""The memory log keeps the promise of all event logs."""

import pytest

from tests.ingest.log_suite import EventLogSuite
from upnext.ingest.log_interface import EventLog
from upnext.ingest.memory_log import MemoryEventLog


class TestMemoryEventLog(EventLogSuite):
    @pytest.fixture
    def log(self) -> EventLog:
        return MemoryEventLog()
