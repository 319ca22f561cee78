"""What was shown and what came of it, as a file other people's tools read."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.ingest.serving import event, slate
from upnext.cli.export_impressions import export_impressions
from upnext.clock import SystemClock
from upnext.errors import DataError
from upnext.ingest.impressions import SCHEMA
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.served_slates import ServedSlates
from upnext.settings import DAY_MS, ImpressionSettings


def served_home(home: Path) -> None:
    """A home with a slate of today and one of yesterday, and a log with three outcomes that nobody has joined."""
    clock = SystemClock()
    now_ms = clock.now_ms()
    served, log = ServedSlates(home / "served", ImpressionSettings(), clock), LmdbEventLog(home / "log")
    served.put([slate("r", served_ms=now_ms), slate("s", served_ms=now_ms - DAY_MS, subject=None)])
    then = {"timestamp_ms": now_ms + 500}
    log.append([event("r", "a", "impression", **then), event("r", "b", **then), event("r", "z", **then)])
    served.close()
    log.close()


def exported(home: Path, *options: str) -> str:
    result = CliRunner().invoke(export_impressions, ["--home", str(home), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_slate_is_written_with_outcomes_that_were_in_the_log_alone(tmp_path):
    served_home(tmp_path)
    path = tmp_path / "impressions.parquet"
    said = exported(tmp_path, "--to", str(path))
    assert "6 rows" in said
    assert "2 slates, 3 outcomes, 1 of them of items not in their slate" in said
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert [row["request_id"] for row in rows] == ["s"] * 3 + ["r"] * 3
    assert [row["outcome"] for row in rows] == [None, None, None, None, "click", None]
    assert [row["impressed"] for row in rows] == [False, False, False, True, False, False]


def test_only_what_was_served_from_a_moment_on(tmp_path):
    served_home(tmp_path)
    path, now_ms = tmp_path / "late.parquet", SystemClock().now_ms()
    since = datetime.fromtimestamp((now_ms - DAY_MS // 2) / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    exported(tmp_path, "--to", str(path), "--since", since)
    assert set(pq.read_table(path)["request_id"].to_pylist()) == {"r"}


def test_a_home_that_has_served_nothing_gives_an_empty_table(tmp_path):
    ServedSlates(tmp_path / "served", ImpressionSettings(), SystemClock()).close()
    path = tmp_path / "none.parquet"
    assert "0 slates" in exported(tmp_path, "--to", str(path))
    assert pq.read_table(path).num_rows == 0


def test_a_folder_that_is_no_home_is_said_so(tmp_path):
    with pytest.raises(DataError, match="has no served slates"):
        exported(tmp_path / "nowhere", "--to", str(tmp_path / "none.parquet"))
    assert list(tmp_path.iterdir()) == []
