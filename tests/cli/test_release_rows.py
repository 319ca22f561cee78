"""A release's item rows written into the store from the command line, and taken out again."""

from pathlib import Path

from click.testing import CliRunner, Result

from tests.conftest import TrainedHome
from upnext.cli.main import cli
from upnext.clock import Deadline, SystemClock
from upnext.errors import ReleaseError, SettingsError
from upnext.features.item_rows import ItemTier
from upnext.funnel.live import open_live
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.store.lmdb_store import LmdbStore


def release(*words: str) -> Result:
    return CliRunner().invoke(cli, ["release", *words])


def test_a_published_release_is_served_from_the_store_and_taken_out_when_another_is_active(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    home, clock = trained_home.copy(tmp_path / "home"), SystemClock()
    first = release("publish", "--home", str(home))
    assert first.exit_code == 0, first.output
    assert f"{trained_home.release_id}: 200 of 200 item rows written" in first.output
    assert ": 0 of 200" in release("publish", trained_home.release_id, "--home", str(home)).output
    assert ": 200 of 200" in release("publish", "--again", "--home", str(home)).output
    store = LmdbStore(home / "state")
    live = open_live(Releases(home).open_active(), Settings(), clock, tier=ItemTier(store))
    assert live.item_rows is not None
    live.item_rows.bring(live.funnel.crowd.trends.popular(), Deadline.never(clock))
    store.close()
    refused = release("unpublish", trained_home.release_id, "--home", str(home))
    assert isinstance(refused.exception, ReleaseError)
    assert "activate another" in str(refused.exception)
    (home / "releases" / "active.json").unlink()
    taken_out = release("unpublish", trained_home.release_id, "--home", str(home))
    assert f"{trained_home.release_id}: 200 item rows deleted" in taken_out.output
    assert isinstance(release("unpublish", trained_home.release_id, "--home", str(home)).exception, ReleaseError)


def test_the_settings_say_which_store(trained_home: TrainedHome) -> None:
    result = release("publish", "--home", str(trained_home.path), "--set", "store.url=carrier-pigeon://loft")
    assert isinstance(result.exception, SettingsError)
