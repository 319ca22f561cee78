"""`upnext import` fills a home and reports what became of every row."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from upnext.cli.import_command import import_command
from upnext.errors import DataError
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.records import Records

ROWS = "user,action,sku,timestamp\nu1,click,i1,1700000000000\nu1,clik,i1,1700000000001\nu2,click\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(ROWS)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(import_command, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_events_and_items_are_in_the_home_afterwards(table: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("sku,label\ni1,Mug\n")
    home = tmp_path / "new" / "home"
    result = run(table, "--home", home, "--items", items, "--items-map", "title=label", "--map", "item=sku", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["accepted_events"], report["items"]) == (1, 1)
    assert report["rejected"] == {"unknown_action": 1, "wrong_columns": 1}
    assert report["examples"]["wrong_columns"][0]["line"] == 4
    log, records = LmdbEventLog(home / "log"), Records(home / "records")
    assert [event.item_id for _, event in log.scan()] == ["i1"]
    assert [item.title for item in records.items()] == ["Mug"]
    log.close()
    records.close()


def test_the_report_shows_an_example_line_for_every_reason(table: Path, tmp_path: Path) -> None:
    result = run(table, "--home", tmp_path / "home")
    assert result.exit_code == 0, result.output
    assert "Imported as table" in result.stdout
    assert "rejected: unknown_action" in result.stdout
    assert "line 4 has 2 columns instead of 4" in result.stdout


def test_importing_twice_reports_events_known_already(table: Path, tmp_path: Path) -> None:
    run(table, "--home", tmp_path / "home")
    report = json.loads(run(table, "--home", tmp_path / "home", "--json").stdout)
    assert (report["accepted_events"], report["duplicates"]) == (0, 1)


def test_a_synthetic_world_can_be_imported_without_any_data(tmp_path: Path) -> None:
    result = run("synthetic:n_items=30,n_users=5,n_events=100", "--home", tmp_path / "home", "--json")
    assert json.loads(result.stdout)["accepted_events"] == 100


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["nowhere.csv"], "check the path"),
        (["TABLE", "--format", "netflix"], "use one of movielens"),
        (["TABLE", "--map", "user"], "--map user=customer_id"),
        (["TABLE", "--map", "user=usr"], "did you mean 'user'"),
        (["TABLE", "--items", "nowhere.csv"], "check the path"),
    ],
)
def test_what_cannot_be_imported_is_an_error_that_says_what_to_do(
    table: Path, tmp_path: Path, arguments: list[str], advice: str
) -> None:
    home = tmp_path / "home"
    result = run(*(str(table) if argument == "TABLE" else argument for argument in arguments), "--home", home)
    assert isinstance(result.exception, DataError)
    assert advice in str(result.exception)
    assert not home.exists()
