"""Slates and events go on while the Redis that holds all state is gone or hangs; `redis_killed` is the long run."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import TrainedHome
from tests.faults import redis_killed
from tests.redis_servers import RedisServer


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server; install it to run this")
def test_a_redis_killed_and_frozen_under_load_fails_no_slate_and_loses_no_event(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    home, redis = trained_home.copy(tmp_path / "home"), RedisServer(tmp_path / "redis", *redis_killed.PERSISTENT)
    plan = redis_killed.phases(calm_s=0.7, fault_s=1.5)
    report = redis_killed.run(home, redis, plan, slates_per_s=40, events_per_s=60)
    assert report.sound, report.markdown()
    # It was a trial: Redis was really away, for slates and for events.
    away = [feeling for feeling in report.feelings if feeling.phase in ("killed", "frozen")]
    assert sum(feeling.stateless for feeling in away) > 20
    assert report.account.unapplied > 50
