"""`upnext precompute` over a trained home: stored, kept, interrupted, gone on with, and one at a time."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

import upnext.ahead.precompute as precompute
from tests.conftest import TrainedHome
from upnext.ahead.active import activity_of
from upnext.ahead.progress import Progress, only_one, read_progress
from upnext.cli.home import opened_home
from upnext.cli.main import cli
from upnext.cli.precompute_command import _settings_of
from upnext.domain.event import Event
from upnext.errors import DataError, SettingsError, UpnextError
from upnext.release.releases import Releases
from upnext.settings import AheadSettings
from upnext.state.shortlist import Shortlist


@pytest.fixture
def home(trained_home: TrainedHome, tmp_path: Path) -> Path:
    return trained_home.copy(tmp_path / "home")


def run(home: Path, *arguments: object, status: int = 0) -> Result:
    words = ["precompute", "--home", str(home), *map(str, arguments)]
    result = CliRunner().invoke(cli, words, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == status, result.output
    return result


def reported(home: Path, *arguments: object, status: int = 0) -> dict[str, Any]:
    path = home / "report.json"
    run(home, *arguments, "--json", path, status=status)
    return dict(json.loads(path.read_bytes()))


def stored(home: Path) -> dict[str, Shortlist]:
    with opened_home(home) as opened:
        found = {key.decode().removeprefix("shortlist/"): raw for key, raw in opened.store.scan(b"shortlist/")}
    return {subject: shortlist for subject, raw in found.items() if (shortlist := Shortlist.unpack(raw))}


def after_batches(monkeypatch: pytest.MonkeyPatch, n: int, happens: Callable[[], object]) -> None:
    """Batches are of ten users, and `happens` once after so many of them were noted."""
    monkeypatch.setitem(precompute.Precompute.__init__.__kwdefaults__, "batch_users", 10)
    noted: list[Progress] = []
    original = precompute.write_progress

    def write(path: Path, progress: Progress) -> None:
        original(path, progress)
        noted.append(progress)
        if len(noted) == n:
            happens()

    monkeypatch.setattr(precompute, "write_progress", write)


def test_the_most_active_users_have_shortlists_of_the_active_release_afterwards(
    home: Path, trained_home: TrainedHome
) -> None:
    outcome = reported(home, "--share", 0.1, "--set", "ahead.pinned_share=0.02")
    with opened_home(home) as opened:
        activity = activity_of(opened.event_log, AheadSettings().active_ms, until=opened.event_log.last())
    chosen = activity.most_active(0.1, pinned_share=0.02)
    assert len(chosen) > 5
    shortlists = stored(home)
    assert set(shortlists) == {user.subject for user in chosen}
    assert {shortlist.release for shortlist in shortlists.values()} == {trained_home.release_id}
    heads = {subject for subject, shortlist in shortlists.items() if shortlist.head}
    assert heads == {user.subject for user in chosen if user.head} != set()
    assert all(len(shortlist.rows) >= 20 for shortlist in shortlists.values())
    assert (outcome["active"], outcome["chosen"], outcome["made"]) == (len(activity), len(chosen), len(chosen))
    assert (outcome["release"], outcome["done"], outcome["skipped"]) == (trained_home.release_id, True, 0)
    assert outcome["users_per_s"] > 0


def test_a_second_run_is_cheap_and_says_so(home: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(home, "--limit", 4)
    assert signal.getsignal(signal.SIGTERM) == before
    result = run(home, "--limit", 6)
    cells = [cell.strip() for cell in result.output.splitlines()[-2].strip("│").split("│")]
    assert cells[1:5] == ["6", "2", "4", "0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_after_the_batch_and_the_next_run_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    after_batches(monkeypatch, 2, lambda: os.kill(os.getpid(), number))
    outcome = reported(home, "--limit", 35, "--share", 1.0, status=130)
    assert (outcome["done"], outcome["made"], len(stored(home))) == (False, 20, 20)
    assert signal.getsignal(number) == before
    made_ms = {subject: shortlist.made_ms for subject, shortlist in stored(home).items()}
    result = run(home, "--limit", 35, "--share", 1.0)
    assert "going on after 20 of 35 users" in result.output
    shortlists = stored(home)
    assert len(shortlists) == 35
    assert {subject: shortlists[subject].made_ms for subject in made_ms} == made_ms
    assert read_progress(home / "ahead" / "precompute.json") is None


def test_interrupted_while_the_log_is_read_it_has_nothing_to_go_on_with(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*_: object, tell: Callable[[int, int], None], **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        tell(1, 2)

    monkeypatch.setattr("upnext.ahead.active.activity_of", told)
    assert "interrupted while the log was read" in run(home, status=130).output
    assert stored(home) == {}


@pytest.mark.parametrize(("limit", "goes_on"), [(25, True), (12, False)])
def test_killed_it_goes_on_for_the_same_users_and_begins_anew_for_others(
    home: Path, monkeypatch: pytest.MonkeyPatch, limit: int, goes_on: bool
) -> None:
    def kill() -> None:
        raise MemoryError

    after_batches(monkeypatch, 1, kill)
    with pytest.raises(MemoryError):
        run(home, "--limit", 25, "--share", 1.0)
    assert len(stored(home)) == 10
    result = run(home, "--limit", limit, "--share", 1.0)
    assert ("going on after 10 of 25 users" in result.output) == goes_on
    assert len(stored(home)) == limit


@pytest.mark.parametrize(("limit", "waits"), [(15, True), (14, False)])
def test_who_became_active_after_a_run_was_broken_off_waits_for_its_end_but_not_where_others_are_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, limit: int, waits: bool
) -> None:
    def kill() -> None:
        raise MemoryError

    after_batches(monkeypatch, 1, kill)
    with pytest.raises(MemoryError):
        run(home, "--limit", 15, "--share", 1.0)
    with opened_home(home) as opened:
        newest_ms = max(event.timestamp_ms for _, event in opened.event_log.scan())
        new = Event(event_id="", action="app_open", timestamp_ms=newest_ms, user_id="new")
        opened.event_log.append([msgspec.structs.replace(new, event_id=f"new{number}") for number in range(9_000)])
    outcome = reported(home, "--limit", limit, "--share", 1.0)
    assert (outcome["made"] + outcome["kept"], outcome["skipped"]) == ((15, 0) if waits else (13, 1))
    # The new one has no state yet.
    assert reported(home, "--limit", limit, "--share", 1.0)["skipped"] == 1


def test_another_release_activated_meanwhile_takes_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    active_id, names = Releases.active_id, []

    def once_another(self: Releases) -> str | None:
        if names:
            return names.pop()
        return active_id(self)

    monkeypatch.setattr(Releases, "active_id", once_another)
    after_batches(monkeypatch, 1, lambda: names.append("another"))
    result = run(home, "--limit", 25, "--share", 1.0)
    assert "another release was activated meanwhile" in result.output
    assert len(stored(home)) == 25


def test_two_at_once_are_refused(home: Path) -> None:
    with only_one(home / "ahead" / "precompute.lock"), pytest.raises(UpnextError, match="already"):
        run(home)
    assert stored(home) == {}


def test_what_cannot_be_is_said(home: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no home at"):
        run(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(SettingsError):
        run(home, "--share", 1.5)
    with pytest.raises(SettingsError, match="did you mean 'head_share'"):
        run(home, "--set", "ahead.head_shar=0.1")


def test_a_tenants_home_has_the_settings_of_its_server_and_keys_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "upnext.toml").write_text('store.url = "redis://localhost"\nranking.top = 77\n')
    tenant = tmp_path / "tenants" / "acme"
    tenant.mkdir(parents=True)
    settings, store = _settings_of(tenant, ["ahead.below=9"])
    assert (settings.ranking.top, settings.ahead.below) == (77, 9)
    own, shared = _settings_of(tmp_path, [])
    assert (store.url, store.prefix) == ("redis://localhost", f"{shared.prefix}@acme")
    assert own.store.prefix == shared.prefix
    assert store.timeout_ms == 1_000.0
