"""Fixtures shared by all suites."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets: $UPNEXT_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("UPNEXT_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set UPNEXT_DATA to their folder")
    return folder
