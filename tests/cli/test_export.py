"""`upnext export` writes a home's events, items and users to files that can be imported again."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from upnext.cli.export_command import export_command
from upnext.cli.home import opened_home
from upnext.domain.event import Event, Item, User
from upnext.errors import DataError

DAY_MS = 86_400_000


def run(*arguments: object) -> Result:
    return CliRunner().invoke(export_command, [str(argument) for argument in arguments])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with opened_home(tmp_path / "home") as opened:
        opened.event_log.append(
            [Event(event_id=f"e{day}", action="app_open", timestamp_ms=day * DAY_MS, user_id="u") for day in range(5)]
        )
        opened.records.put_items([Item(item_id="i"), Item(item_id="gone")])
        opened.records.delete_items(["gone"])
        opened.records.put_users([User(user_id="u")])
    return tmp_path / "home"


def test_events_are_exported_and_the_next_export_goes_on_where_this_one_ended(home: Path, tmp_path: Path) -> None:
    result = run("events", "--home", home, "--to", tmp_path / "all.parquet")
    assert result.exit_code == 0, result.output
    assert f"5 rows, {(tmp_path / 'all.parquet').stat().st_size:,} bytes" in result.stdout
    assert "--after 5" in result.stdout
    with opened_home(home) as opened:
        opened.event_log.append([Event(event_id="new", action="app_open", timestamp_ms=0, user_id="u")])
    run("events", "--home", home, "--to", tmp_path / "more.parquet", "--after", 5)
    assert pq.read_table(tmp_path / "more.parquet")["event_id"].to_pylist() == ["new"]


def test_dates_bound_the_moments_of_events_in_utc(home: Path, tmp_path: Path) -> None:
    run("events", "--home", home, "--to", tmp_path / "f", "--since", "1970-01-02", "--until", "1970-01-04")
    assert pq.read_table(tmp_path / "f")["event_id"].to_pylist() == ["e1", "e2"]


def test_items_and_users_are_exported_too(home: Path, tmp_path: Path) -> None:
    assert "1 rows" in run("items", "--home", home, "--to", tmp_path / "items").stdout
    assert "1 rows" in run("users", "--home", home, "--to", tmp_path / "users").stdout
    assert pq.read_table(tmp_path / "items")["item_id"].to_pylist() == ["i"]
    assert pq.read_table(tmp_path / "users")["user_id"].to_pylist() == ["u"]


def test_a_home_that_is_not_there_is_an_error_and_not_made(tmp_path: Path) -> None:
    result = run("events", "--home", tmp_path / "nowhere", "--to", tmp_path / "f")
    assert isinstance(result.exception, DataError)
    assert "check --home" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
