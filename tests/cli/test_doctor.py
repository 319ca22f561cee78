"""`upnext doctor`: every check knows the well from the ill, and says what to do about the ill."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.conftest import TrainedHome
from upnext.cli.doctor.check import Check
from upnext.cli.doctor.clock import ClockFacts, check_clock
from upnext.cli.doctor.keys import check_keys
from upnext.cli.doctor.log import LogFacts, check_log
from upnext.cli.doctor.log_facts import read_log
from upnext.cli.doctor.machine import Machine, Needs, check_machine, needs_of
from upnext.cli.doctor.machine_facts import cpu_flags, memory_limit, quota_cores
from upnext.cli.doctor.release import (
    MAX_FLOAT_ERROR,
    MAX_NDCG_LOSS,
    MIN_RANK_AGREEMENT,
    OLD_DAYS,
    check_age,
    check_parity,
    check_release,
)  # fmt: skip
from upnext.cli.doctor.server import check_server
from upnext.cli.doctor.store import StoreFacts, check_store
from upnext.cli.doctor.store_facts import parsed_info
from upnext.cli.main import cli
from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.release.releases import Releases
from upnext.serve.keys import KEYS_FILE, Keys
from upnext.settings import Settings, StoreSettings
from upnext.state.user_state import state_key
from upnext.store.opening import open_store

GIB, DAY_MS = 2**30, 86_400_000
GOOD_MACHINE = Machine(
    python=(3, 12), libraries={"faiss": "1.15"}, architecture="x86_64", cpu_flags=frozenset({"avx2", "avx512_vnni"}),
    cores=4, memory_bytes=16 * GIB, shared_free_bytes=GIB, disk_free_bytes=50 * GIB, open_files=65_536,
)  # fmt: skip
NEEDS = Needs(workers=2, release_bytes=GIB, bounds_bytes=GIB, reserve_bytes=GIB, growth_bytes_per_day=GIB)
GOOD_CLOCK = ClockFacts(now_ms=1_000_000, synchronised=True, max_error_ms=5.0, newest_event_ms=999_000)
GOOD_STORE = StoreFacts(
    kind="Redis", round_trips_ms=[0.3] * 25, timeout_ms=20.0,
    servers={"127.0.0.1:6379": {"redis_version": "7.2.4", "maxmemory_policy": "noeviction"}},
)  # fmt: skip
GOOD_LOG = LogFacts(n_events=90, last=100, applied=100, newest_event_ms=999_000)


def ill(checks: list[Check]) -> dict[str, str]:
    """State of every check that is not ok; each of them says what to do, and no other does."""
    assert all(bool(check.advice) == (check.state != "ok") for check in checks)
    return {check.name: check.state for check in checks if check.state != "ok"}


def test_a_good_machine_store_clock_and_log_are_all_well() -> None:
    assert ill(check_machine(GOOD_MACHINE, NEEDS)) == {}
    assert ill(check_store(GOOD_STORE)) == {}
    assert ill(check_clock(GOOD_CLOCK)) == {}
    assert ill(check_log(GOOD_LOG, 1_000, "shop")) == {}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"python": (3, 10)}, {"Python": "problem"}),
        ({"libraries": {"faiss": None}}, {"libraries": "problem"}),
        ({"cpu_flags": frozenset({"sse2"})}, {"processor": "warning"}),
        ({"cpu_flags": frozenset({"avx2"})}, {"processor": "warning"}),
        ({"architecture": "aarch64", "cpu_flags": frozenset()}, {}),
        ({"cores": 1.5}, {"cores": "warning"}),
        ({"memory_bytes": GIB}, {"memory": "problem"}),
        ({"memory_bytes": 2 * GIB}, {"memory": "warning"}),
        ({"disk_free_bytes": GIB}, {"disk": "problem"}),
        ({"disk_free_bytes": 5 * GIB}, {"disk": "warning"}),
        ({"shared_free_bytes": None}, {"/dev/shm": "warning"}),
        ({"shared_free_bytes": 1_000_000}, {"/dev/shm": "problem"}),
        ({"open_files": 1_024}, {"open files": "warning"}),
    ],
)
def test_what_a_machine_lacks_is_found(change: dict[str, Any], found: dict[str, str]) -> None:
    assert ill(check_machine(msgspec.structs.replace(GOOD_MACHINE, **change), NEEDS)) == found


def test_needs_follow_the_settings() -> None:
    settings = Settings()
    needs = needs_of(settings, GIB, 5.0)
    assert (needs.workers, needs.release_bytes, needs.growth_bytes_per_day) == (1, GIB, 5.0)
    tiered = msgspec.structs.replace(settings, items=msgspec.structs.replace(settings.items, tier="store"))
    assert needs_of(tiered, GIB, 5.0).bounds_bytes - needs.bounds_bytes == settings.items.l1_bytes


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"step_ms": 2_000.0}, {"steady": "warning"}),
        ({"step_ms": -2_000.0}, {"steady": "warning"}),
        ({"synchronised": False}, {"synchronised": "warning"}),
        ({"synchronised": None, "max_error_ms": None}, {}),
        ({"max_error_ms": 16_000.0}, {"synchronised": "warning"}),
        ({"newest_event_ms": 1_000_000 + 61_000}, {"after all events": "problem"}),
        ({"newest_event_ms": None}, {}),
    ],
)
def test_a_clock_that_cannot_be_trusted_is_found(change: dict[str, Any], found: dict[str, str]) -> None:
    assert ill(check_clock(msgspec.structs.replace(GOOD_CLOCK, **change))) == found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"error": "refused"}, {"reachable": "problem"}),
        ({"round_trips_ms": [9.0] * 25}, {"round trip": "warning"}),
        ({"servers": {"a:1": {"redis_version": "5.0.7"}}}, {"version": "problem"}),
        ({"servers": {"a:1": {"maxmemory_policy": "allkeys-lru"}}}, {"eviction": "problem"}),
        ({"servers": {"a:1": {}}}, {}),
        ({"cluster_state": "fail"}, {"cluster": "problem"}),
        ({"cluster_state": "ok"}, {}),
        ({"kind": "LMDB", "servers": {}, "timeout_ms": 0.0, "round_trips_ms": [0.01]}, {}),
        ({"kind": "LMDB", "servers": {}, "timeout_ms": 0.0, "round_trips_ms": [8.0]}, {"round trip": "warning"}),
    ],
)
def test_an_ill_store_is_found(change: dict[str, Any], found: dict[str, str]) -> None:
    assert ill(check_store(msgspec.structs.replace(GOOD_STORE, **change))) == found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"error": "no permission"}, {"readable": "problem"}),
        ({"last": 0}, {"events": "warning"}),
        ({"last": 1_101}, {"states": "problem"}),
        ({"last": 301}, {"states": "warning"}),
        ({"last": 50, "applied": None}, {}),
        ({"lag_error": "of another log"}, {"states": "problem"}),
        ({"unreadable": "a user's facts have format 2"}, {"states": "problem"}),
        ({"waiting_letters": 3, "by_reason": {"unknown_action": 3}}, {"dead letters": "warning"}),
    ],
)
def test_followers_that_are_behind_and_letters_that_wait_are_found(
    change: dict[str, Any], found: dict[str, str]
) -> None:
    assert ill(check_log(msgspec.structs.replace(GOOD_LOG, **change), 1_000, "shop")) == found


def row(**change: Any) -> dict[str, Any]:
    good = {"exit_depth": 1, "precision": "float32", "ndcg_trained": 0.5, "ndcg_loss": 0.0, "ndcg_loss_error": 0.0}
    return {**good, "rank_agreement": 1.0, "max_score_error": 1e-6, **change}


@pytest.mark.parametrize(
    ("change", "inside"),
    [
        ({}, True),
        ({"ndcg_loss": 0.02}, False),
        ({"ndcg_loss": 0.02, "ndcg_loss_error": 0.01}, True),
        ({"rank_agreement": 0.9}, False),
        ({"max_score_error": 0.1}, False),
        ({"max_score_error": 0.1, "precision": "int8"}, True),
    ],
)
def test_a_graph_that_ranks_unlike_its_model_is_found(change: dict[str, Any], inside: bool) -> None:
    assert check_parity([row(), row(**change)]).state == ("ok" if inside else "warning")


def test_the_bounds_of_parity_are_those_of_training() -> None:
    from upnext.compress.parity import ParityBounds

    bounds = ParityBounds()
    assert bounds.max_ndcg_loss == MAX_NDCG_LOSS
    assert bounds.min_rank_agreement == MIN_RANK_AGREEMENT
    assert bounds.max_float_error == MAX_FLOAT_ERROR


def test_the_active_release_is_opened_and_an_old_one_remarked_on(trained_home: TrainedHome) -> None:
    assert ill(check_release(trained_home.path, Settings(), SystemClock())) == {}
    manifest = Releases(trained_home.path).manifest(trained_home.release_id)
    assert check_age(manifest, manifest.created_ms + (OLD_DAYS - 1) * DAY_MS).state == "ok"
    assert check_age(manifest, manifest.created_ms + (OLD_DAYS + 1) * DAY_MS).state == "warning"


def test_an_altered_release_is_found_and_without_its_digests_a_shortened_one(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    home = trained_home.copy(tmp_path / "home")
    release = Releases(home).open_active()
    part = release.folder / max(release.manifest.parts.values(), key=lambda each: each.bytes).file
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.chmod(0o644)
    part.write_bytes(content)
    assert ill(check_release(home, Settings(), SystemClock())) == {"whole": "problem"}
    assert ill(check_release(home, Settings(), SystemClock(), quick=True)) == {}
    part.write_bytes(content[:-1])
    assert ill(check_release(home, Settings(), SystemClock(), quick=True)) == {"whole": "problem"}


def test_a_release_that_does_not_fit_is_found(trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upnext.features.spec.FeatureSpec.digest", lambda self: "of another version")
    assert ill(check_release(trained_home.path, Settings(), SystemClock())) == {"fits this version": "problem"}


def test_no_release_is_a_problem(tmp_path: Path) -> None:
    assert ill(check_release(tmp_path, Settings(), SystemClock())) == {"active": "problem"}


def test_keys_that_others_may_read_or_that_expire_are_found(tmp_path: Path) -> None:
    clock = ManualClock()
    assert ill(check_keys(tmp_path, "127.0.0.1", clock)) == {}
    assert ill(check_keys(tmp_path, "0.0.0.0", clock)) == {"reach": "problem"}
    keys = Keys(tmp_path / KEYS_FILE, clock)
    keys.create(["recommend"], expires_ms=clock.now_ms() + 10 * DAY_MS)
    assert ill(check_keys(tmp_path, "0.0.0.0", clock)) == {"operate": "warning"}
    keys.create(["operate"])
    assert ill(check_keys(tmp_path, "0.0.0.0", clock)) == {}
    clock.advance(4 * DAY_MS)
    assert "within a week" in {each.name: each.found for each in check_keys(tmp_path, "::1", clock)}["expiry"]
    clock.advance(7 * DAY_MS)
    assert "expired" in {each.name: each.found for each in check_keys(tmp_path, "::1", clock)}["expiry"]
    (tmp_path / KEYS_FILE).chmod(0o644)
    assert ill(check_keys(tmp_path, "::1", clock)) == {"expiry": "warning", "file": "problem"}
    (tmp_path / KEYS_FILE).write_text("{")
    assert ill(check_keys(tmp_path, "::1", clock)) == {"file": "problem"}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'{"status": "ready", "release": "r2"}', {}),
        (b'{"status": "ready", "release": "r1"}', {"release": "warning"}),
        (b"<html>", {"ready": "problem"}),
        (None, {"ready": "problem"}),
    ],
)
def test_a_server_that_is_not_ready_or_serves_another_release_is_found(
    answer: bytes | None, found: dict[str, str]
) -> None:
    assert ill(check_server("http://127.0.0.1:8080", answer, "no server answers", "r2")) == found


def test_what_a_system_says_of_itself_is_read(tmp_path: Path) -> None:
    assert cpu_flags("processor : 0\nflags\t\t: fpu avx2\n") == {"fpu", "avx2"}
    assert (quota_cores(tmp_path), memory_limit(tmp_path) > 2**60) == (float("inf"), True)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert (quota_cores(tmp_path), memory_limit(tmp_path)) == (1.5, GIB)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (quota_cores(tmp_path), memory_limit(tmp_path) > 2**60) == (float("inf"), True)
    assert parsed_info(b"# Server\r\nredis_version:7.2.4\r\n\r\n") == {"redis_version": "7.2.4"}


def doctor(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(cli, ["doctor", *map(str, words)], catch_exceptions=False)


def test_a_trained_home_has_no_problem_and_nothing_in_it_changes(trained_home: TrainedHome, tmp_path: Path) -> None:
    home = trained_home.copy(tmp_path / "home")
    before = {path: path.stat().st_size for path in home.rglob("*")}
    result = doctor("--home", home, "--json")
    checks = [msgspec.convert(each, Check) for each in json.loads(result.stdout)]
    of_home = [check for check in checks if check.group != "machine"]  # wherever the tests run
    assert [check for check in of_home if check.state == "problem"] == []
    assert {check.group for check in of_home} == {"settings", "store", "log", "release", "keys", "clock"}
    assert before == {path: path.stat().st_size for path in before}


def test_problems_are_in_the_table_with_what_to_do_and_give_status_1(tmp_path: Path) -> None:
    (tmp_path / "upnext.toml").write_text("[rankin]\ntop = 5\n")
    result = doctor("--home", tmp_path, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "there are no settings 'rankin'" in result.stdout
    assert "upnext serve" in result.stdout
    assert "problems" in result.stdout.splitlines()[-1]
    assert os.listdir(tmp_path) == ["upnext.toml"]


def test_states_of_another_format_are_found(trained_home: TrainedHome, tmp_path: Path) -> None:
    home, clock = trained_home.copy(tmp_path / "home"), SystemClock()
    assert read_log(home, Settings(), clock).unreadable == ""
    with closing(LmdbEventLog(home / "log")) as log:
        [(_, newest)] = log.read(log.last() - 1, 1)
    with closing(open_store(home, StoreSettings(), clock)) as store:
        store.put_many([(state_key(f"u:{newest.user_id}"), b"of another format")], Deadline.never(clock))
    assert "HOME/state" in read_log(home, Settings(), clock).unreadable


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = doctor("--home", tmp_path / "none")
    assert result.exit_code == 1
    assert "upnext import" in result.stdout
    assert not (tmp_path / "none").exists()
