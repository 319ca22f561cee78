"""Of the releases of a home one is active: activation and rollback are atomic, and damage never becomes active."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from upnext.clock import ManualClock
from upnext.errors import ReleaseCorrupt, ReleaseError
from upnext.release.release import Release
from upnext.release.releases import Releases


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "home")


def write(releases: Releases, *numbers: int) -> list[str]:
    """Ids of fresh releases, each holding its number."""
    clock = ManualClock()
    ids = []
    for number in numbers:
        clock.advance(1000)
        with releases.writer(clock) as writer:
            writer.add_json("number", number)
            ids.append(writer.commit().id)
    return ids


def damage(release: Release) -> None:
    release.path("number").write_bytes(b"9")


def test_a_fresh_home_has_no_releases_and_says_so(releases: Releases) -> None:
    assert releases.ids() == []
    assert releases.active_id() is None
    with pytest.raises(ReleaseError, match=r"no release is active.*none yet"):
        releases.open_active()
    with pytest.raises(ReleaseError, match="before"):
        releases.rollback()


def test_releases_are_listed_oldest_first_and_drafts_and_strangers_are_not(releases: Releases) -> None:
    ids = write(releases, 1, 2, 3)
    (releases.folder / "notes").mkdir()
    draft = releases.writer()
    draft.add_json("number", 4)
    assert releases.ids() == ids == sorted(ids)
    draft.abandon()


def test_committing_activates_nothing(releases: Releases) -> None:
    write(releases, 1)
    assert releases.active_id() is None


def test_the_activated_release_is_the_one_opened(releases: Releases) -> None:
    one, two = write(releases, 1, 2)
    releases.activate(one)
    assert releases.open_active().json("number") == 1
    releases.activate(two)
    assert Releases(releases.folder.parent).open_active().json("number") == 2
    assert releases.manifest(one).id == one


def test_rollback_goes_back_through_what_was_active_the_latest_first(releases: Releases) -> None:
    one, two, three = write(releases, 1, 2, 3)
    for release_id in (two, one, three, three):
        releases.activate(release_id)
    assert releases.rollback().id == one
    assert releases.rollback().id == two
    with pytest.raises(ReleaseError, match="before"):
        releases.rollback()
    assert releases.active_id() == two
    releases.activate(three)
    assert releases.rollback().id == two


def test_a_damaged_release_is_not_activated_and_the_one_before_stays(releases: Releases) -> None:
    one, two = write(releases, 1, 2)
    releases.activate(one)
    damage(releases.open(two))
    with pytest.raises(ReleaseCorrupt, match=r"number\.json"):
        releases.activate(two)
    assert releases.open_active().id == one
    with pytest.raises(ReleaseError, match="before"):
        releases.rollback()


def test_rolling_back_to_a_damaged_release_is_refused_and_the_active_one_stays(releases: Releases) -> None:
    one, two = write(releases, 1, 2)
    releases.activate(one)
    releases.activate(two)
    damage(releases.open(one))
    with pytest.raises(ReleaseCorrupt, match=r"number\.json"):
        releases.rollback()
    assert releases.open_active().id == two


def test_a_damaged_active_release_is_refused_when_opened(releases: Releases) -> None:
    (one,) = write(releases, 1)
    damage(releases.activate(one))
    with pytest.raises(ReleaseCorrupt, match=r"number\.json"):
        releases.open_active()


@pytest.mark.parametrize("name", ["nothing", "..", ".lock", ""])
def test_an_unknown_release_is_refused_with_those_that_are_there(releases: Releases, name: str) -> None:
    (one,) = write(releases, 1)
    with pytest.raises(ReleaseError, match=one):
        releases.activate(name)
    assert releases.active_id() is None


def test_activations_at_once_each_happen_whole_and_none_is_lost(releases: Releases) -> None:
    ids = write(releases, *range(8))
    barrier = threading.Barrier(8)
    seen: set[str | None] = set()

    def activate(release_id: str) -> None:
        mine = Releases(releases.folder.parent)
        barrier.wait()
        mine.activate(release_id)
        seen.add(mine.active_id())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(activate, ids))
    assert seen <= set(ids)
    stack = [releases.active_id()]
    stack += [releases.rollback().id for _ in range(7)]
    assert sorted(filter(None, stack)) == ids


def test_a_process_that_dies_while_activating_leaves_the_one_before_active(releases: Releases) -> None:
    one, two = write(releases, 1, 2)
    releases.activate(one)
    crash = """
import os, sys
from pathlib import Path
from upnext.release.releases import Releases
os.replace = lambda *paths: os._exit(9)
Releases(Path(sys.argv[1])).activate(sys.argv[2])
"""
    command = [sys.executable, "-c", crash, str(releases.folder.parent), two]
    assert subprocess.run(command, check=False).returncode == 9
    assert releases.open_active().id == one
    assert releases.activate(two).id == two


def test_a_watcher_tells_each_change_once(releases: Releases) -> None:
    one, two = write(releases, 1, 2)
    watcher = releases.watcher()
    assert watcher.changed() is None
    releases.activate(one)
    assert watcher.changed() == one
    assert watcher.changed() is None
    releases.activate(one)
    assert watcher.changed() is None
    releases.activate(two)
    assert watcher.changed() == two
    releases.rollback()
    assert watcher.changed() == one


def test_a_watcher_misses_no_activation_between_opening_and_watching(releases: Releases) -> None:
    one, two = write(releases, 1, 2)
    releases.activate(one)
    releases.open_active()
    Releases(releases.folder.parent).activate(two)
    assert releases.watcher().changed() == two


def test_a_watcher_made_while_a_release_is_active_waits_for_another(releases: Releases) -> None:
    one, two = write(releases, 1, 2)
    releases.activate(one)
    watcher = releases.watcher()
    assert watcher.changed() is None
    releases.activate(two)
    assert watcher.changed() == two


def test_an_unreadable_record_of_what_is_active_is_named_and_no_change_to_a_watcher(releases: Releases) -> None:
    (one,) = write(releases, 1)
    releases.activate(one)
    watcher = releases.watcher()
    (releases.folder / "active.json").write_text("{")
    with pytest.raises(ReleaseCorrupt, match=r"active\.json.*activate a release again"):
        releases.active_id()
    assert watcher.changed() is None
    os.unlink(releases.folder / "active.json")
    assert watcher.changed() is None
    releases.activate(one)
    assert releases.active_id() == one
