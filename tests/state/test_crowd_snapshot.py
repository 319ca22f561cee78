"""The crowd kept in files: the same after as before, wherever rows stand now."""

from pathlib import Path

import numpy as np
import pytest

from upnext.settings import Settings
from upnext.state.crowd import Crowd
from upnext.state.crowd_snapshot import age_s, load_snapshot, write_snapshot

N_ITEMS, N_RELEASED = 6, 4
MS = 1_700_000_000_000
KEYS = np.array([71, 72], np.uint64)  # of the items in rows 4 and 5


def observed() -> Crowd:
    crowd = Crowd(N_ITEMS, Settings())
    for at, row in enumerate([0, 4, 1, 5, 0, 4, 4, 2]):
        crowd.observe(visitor=9, session=1, row=row, timestamp_ms=MS + 1_000 * at)
    return crowd


def loaded(folder: Path, rows: dict[int, int], between: tuple[int, int] = (3, 100)) -> tuple[Crowd, int]:
    """`rows`: where the items of keys stand now."""
    crowd = Crowd(N_ITEMS, Settings())
    sequence = load_snapshot(
        folder, "r1", between, crowd, N_RELEASED, lambda keys: np.array([rows.get(int(k), -1) for k in keys], np.int32)
    )
    return crowd, sequence


def after(crowd: Crowd, row: int) -> dict[int, float]:
    rows, shares = crowd.covisits.after(np.array([row], np.int32), np.ones(1, np.float32))
    return {int(r): round(float(s), 5) for r, s in zip(rows, shares, strict=True)}


def test_a_worker_goes_on_from_the_snapshot_as_if_it_had_counted_itself(tmp_path: Path) -> None:
    crowd = observed()
    write_snapshot(tmp_path, "r1", 40, crowd, KEYS)
    again, sequence = loaded(tmp_path, {71: 4, 72: 5})
    assert sequence == 40
    every = np.arange(N_ITEMS)
    assert again.trends.counts(every).tolist() == crowd.trends.counts(every).tolist()
    assert again.trends.first_seen_ms.tolist() == crowd.trends.first_seen_ms.tolist()
    assert again.trends.popular().tolist() == crowd.trends.popular().tolist()
    assert [after(again, row) for row in range(N_ITEMS)] == [after(crowd, row) for row in range(N_ITEMS)]


def test_items_posted_since_the_release_are_found_in_the_rows_they_have_now(tmp_path: Path) -> None:
    crowd = observed()
    write_snapshot(tmp_path, "r1", 40, crowd, KEYS)
    again, _ = loaded(tmp_path, {71: 5, 72: 4})
    moved = np.array([0, 1, 2, 3, 5, 4])
    assert again.trends.counts(moved).tolist() == crowd.trends.counts(np.arange(N_ITEMS)).tolist()
    rename = dict(enumerate(moved.tolist()))
    for row in range(N_ITEMS):
        assert after(again, rename[row]) == {rename[other]: share for other, share in after(crowd, row).items()}


def test_an_item_that_is_no_more_takes_its_counts_with_it_and_no_others(tmp_path: Path) -> None:
    crowd = observed()
    write_snapshot(tmp_path, "r1", 40, crowd, KEYS)
    again, _ = loaded(tmp_path, {72: 4})
    assert again.trends.counts(np.array([4]))[0, 0] == crowd.trends.counts(np.array([5]))[0, 0]
    assert again.trends.counts(np.array([5])).sum() == 0
    assert 5 not in after(again, 0)
    assert after(again, 4) == {0: after(crowd, 5)[0]}


@pytest.mark.parametrize("between", [(40, 100), (3, 39)])
def test_a_snapshot_that_is_no_newer_or_of_another_log_is_passed_over(tmp_path: Path, between: tuple[int, int]) -> None:
    write_snapshot(tmp_path, "r1", 40, observed(), KEYS)
    crowd, sequence = loaded(tmp_path, {}, between)
    assert sequence == between[0]
    assert not len(crowd.trends.popular())


def test_only_the_newest_snapshot_stays_and_another_release_has_none(tmp_path: Path) -> None:
    write_snapshot(tmp_path, "r1", 40, observed(), KEYS)
    write_snapshot(tmp_path, "r1", 50, observed(), KEYS)
    assert [path.name for path in tmp_path.iterdir()] == ["r1@50"]
    write_snapshot(tmp_path, "r2", 45, observed(), KEYS)
    assert loaded(tmp_path, {})[1] == 3


def test_a_torn_snapshot_is_passed_over(tmp_path: Path) -> None:
    write_snapshot(tmp_path, "r1", 40, observed(), KEYS)
    (tmp_path / "r1@40" / "trends.weights.npy").write_bytes(b"\x93NUMPY torn")
    assert loaded(tmp_path, {71: 4, 72: 5})[1] == 3
    assert age_s(tmp_path, 1e18) > 1e17
    assert age_s(tmp_path / "nowhere", 0.0) == np.inf
