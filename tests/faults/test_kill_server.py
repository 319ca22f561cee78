"""What the server acknowledged outlives SIGKILL of one worker and of all; `kill_server` is the long run."""

from pathlib import Path

from tests.conftest import TrainedHome
from tests.faults import kill_server


def test_no_kill_loses_tears_or_doubles_an_acknowledged_event(trained_home: TrainedHome, tmp_path: Path) -> None:
    report = kill_server.run(trained_home.copy(tmp_path / "home"), rounds=4, seed=3)
    assert report.sound, report.markdown()
    # It was a trial: both kinds of kill, under load, with requests in flight.
    assert report.worker_kills
    assert report.server_kills
    assert report.account.unanswered
    assert len(report.account.acknowledged) > 1_000
