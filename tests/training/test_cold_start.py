"""Starts show the right events of the right users, and nothing that comes later."""

import io

import numpy as np
import pytest
from rich.console import Console

from upnext.errors import TrainingError
from upnext.training.cold_start import (
    FIGURES,
    MOST_KNOWN,
    WITH,
    WITHOUT,
    ColdStart,
    as_if_new,
    newcomers,
    start_figures,
    until,
)
from upnext.training.cold_start_report import starts_table, until_table, write_png
from upnext.training.evaluate import Answered
from upnext.training.metrics import MISSED

CUT_MS = 1_000


def world(columns_of):
    """Twelve newcomers with 12 interactions each, one with too few, and one user from before the cut."""
    clicks = [(f"new{user:02}", f"i{at:02}", CUT_MS + 20 * at + user) for user in range(12) for at in range(12)]
    clicks += [("short", f"i{at:02}", CUT_MS + at) for at in range(MOST_KNOWN)]
    clicks += [("old", f"i{at:02}", CUT_MS - 30 + at) for at in range(60)]
    clicks += [("new03", None, CUT_MS + 5, "search"), ("new03", "i11", CUT_MS + 6, "impression")]
    return columns_of(clicks)


def test_newcomers_are_asked_for_the_interaction_after_those_shown(columns_of) -> None:
    columns = world(columns_of)
    starts = newcomers(columns, CUT_MS)
    assert [start.n_known for start in starts] == list(range(MOST_KNOWN + 1))
    for start in starts:
        assert {columns.users[user] for user in columns.user[start.events]} == {f"new{n:02}" for n in range(12)}
        assert {columns.items[row] for row in columns.item[start.events]} == {f"i{start.n_known:02}"}
        shown = np.flatnonzero(start.shown)
        assert len(shown) == 12 * start.n_known
        assert {columns.items[row] for row in columns.item[shown]} == {f"i{at:02}" for at in range(start.n_known)}


def test_of_many_newcomers_the_first_to_come_are_asked(columns_of) -> None:
    columns = world(columns_of)
    starts = newcomers(columns, CUT_MS, most_users=10)
    assert {columns.users[user] for user in columns.user[starts[0].events]} == {f"new{n:02}" for n in range(10)}


def test_without_newcomers_the_other_protocol_is_named(columns_of) -> None:
    with pytest.raises(TrainingError, match="--split leave-one-out --hold-out"):
        newcomers(world(columns_of), CUT_MS + 100_000)


def test_users_as_if_new_keep_their_newest_interactions_and_their_target(columns_of) -> None:
    columns = columns_of([(f"u{user:02}", f"i{at:02}", 20 * at + user) for user in range(11) for at in range(15)])
    cases = np.flatnonzero(columns.item == 13)  # one more event follows each, which nobody may see
    starts = as_if_new(columns, cases)
    for start in starts:
        assert start.events.tolist() == cases.tolist()
        shown = {columns.items[row] for row in columns.item[start.shown]}
        assert shown == {f"i{at:02}" for at in range(13 - start.n_known, 13)}
        assert start.shown.sum() == 11 * start.n_known


def test_users_as_if_new_whose_target_they_chose_before_are_left_out(columns_of) -> None:
    clicks = [(f"u{user:02}", f"i{at:02}", 20 * at + user) for user in range(12) for at in range(12)]
    columns = columns_of([*clicks[:-1], ("u11", "i00", 20 * 11 + 11)])
    cases = np.array([np.flatnonzero(columns.user == user)[-1] for user in range(12)])
    assert {columns.users[user] for user in columns.user[as_if_new(columns, cases)[0].events]} == {
        f"u{user:02}" for user in range(11)
    }


def answered(n_known: int) -> Answered:
    """With content every target is first, without it none is found."""
    n = 40
    places = {WITHOUT: np.full(n, MISSED), WITH: np.zeros(n, np.int64), "popular": np.full(n, 12)}
    users = np.arange(n, dtype=np.int32)
    return Answered(np.arange(n), users, np.full(n, n_known), np.zeros(n, np.int32), FIGURES, places)


def report() -> ColdStart:
    starts = [(n, answered(n)) for n in range(MOST_KNOWN + 1)]
    figures, intervals = until(starts, seed=0)
    return ColdStart(
        dataset="tiny", split="time", seed=0, release="r", protocol="newcomers",
        starts=[start_figures(n, each, 0) for n, each in starts], until=figures, until_intervals=intervals,
        content_us={"p50": 1.0, "p99": 2.0, "max": 3.0},
    )  # fmt: skip


def test_content_that_runs_until_n_interactions_helps_at_the_starts_below_n() -> None:
    figures, intervals = until([(n, answered(n)) for n in range(MOST_KNOWN + 1)], seed=0)
    assert {name: round(each["hr@10"] * 11) for name, each in figures.items()} == {"0": 0, "3": 3, "5": 5, "always": 11}
    assert intervals["3"]["hr@10"] == pytest.approx((3 / 11, 3 / 11))


def test_whether_content_helps_is_tested_at_every_start() -> None:
    (ndcg, *_) = start_figures(2, answered(2), seed=0).content_helps
    assert (ndcg.figure, ndcg.difference, ndcg.verdict) == ("ndcg@10", 1.0, "real")


def test_the_tables_and_the_picture_show_every_start(tmp_path) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(starts_table(report()))
    console.print(until_table(report()))
    text = console.export_text()
    assert all(word in text for word in ("newcomers", "ndcg@10 without", "+1.0000 real", "never", "always", "440"))
    write_png(report(), tmp_path / "cold.png")
    assert (tmp_path / "cold.png").read_bytes().startswith(b"\x89PNG")
