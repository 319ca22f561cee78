"""What was measured of a release is found with it: the newest of each kind, whole, and nothing hides what is broken."""

from pathlib import Path

import pytest

from upnext.errors import DataError
from upnext.release.evaluations import Evaluations


def test_the_newest_report_of_each_kind_is_kept_by_release(tmp_path: Path) -> None:
    kept = Evaluations(tmp_path)
    assert kept.of("r1") == {}
    kept.keep("r1", "time", b'{"seed": 0}')
    kept.keep("r1", "stream", b'{"seed": 1}')
    kept.keep("r1", "time", b'{"seed": 2}')
    kept.keep("r2", "time", b'{"seed": 3}')
    assert kept.of("r1") == {"stream": {"seed": 1}, "time": {"seed": 2}}
    assert Evaluations(tmp_path).of("r2") == {"time": {"seed": 3}}
    assert sorted(path.name for path in (tmp_path / "evaluations" / "r1").iterdir()) == ["stream.json", "time.json"]


def test_a_report_that_cannot_be_read_says_so_beside_the_others(tmp_path: Path) -> None:
    kept = Evaluations(tmp_path)
    kept.keep("r1", "time", b'{"seed": 0}')
    kept.keep("r1", "stream", b"{}").write_bytes(b'{"see')
    found = kept.of("r1")
    assert found["time"] == {"seed": 0}
    assert "stream.json cannot be read" in found["stream"]["problem"]


def test_a_report_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "evaluations").write_text("a file in the way")
    with pytest.raises(DataError, match=r"evaluation of r1 cannot be kept at .*time\.json"):
        Evaluations(tmp_path).keep("r1", "time", b"{}")
