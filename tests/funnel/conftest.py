"""The small release that tests of a release in force share."""

import pytest

from tests.funnel.small_release import Parts, made_parts, release_of
from upnext.release.release import Release


@pytest.fixture(scope="module")
def parts() -> Parts:
    return made_parts()


@pytest.fixture(scope="module")
def release(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return release_of(tmp_path_factory.mktemp("home"), parts)
