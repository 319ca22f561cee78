"""Fixtures that tests of ingestion share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from upnext.ingest.records import Records


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    """Empty records in a folder of the test's own."""
    records = Records(tmp_path / "records")
    yield records
    records.close()
