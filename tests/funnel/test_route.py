"""The decision matrix: one row per test case."""

from dataclasses import replace
from typing import Any

import pytest

from tests.state.test_shortlist import shortlist
from upnext.funnel.ranking.depth import Depths
from upnext.funnel.request import SlateRequest
from upnext.funnel.route import Route, route_of
from upnext.settings import AheadSettings

NOW_MS = 1_700_000_060_000
SETTINGS = AheadSettings(live_age_ms=30_000, precomputed_age_ms=100_000)
HELD = replace(shortlist(), region="", genres=(), made_ms=NOW_MS - 10_000, origin="live")
REQUEST = SlateRequest(subject="u:ann", k=5)
DEPTHS = Depths(("exit1", "exit2", "exit3"), "exit2")


def route(request: SlateRequest = REQUEST, n_moves: int = 9, **changed: Any) -> Route:
    return route_of(
        request, replace(HELD, **changed), release="20261120-a", n_moves=n_moves, now_ms=NOW_MS,
        depths=DEPTHS, settings=SETTINGS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "name"),
    [("live", "shortlist"), ("precompute", "precomputed"), ("prefetch", "prefetched"), ("speculation", "prefetched")],
)
def test_the_route_is_named_after_the_occasion_on_which_the_work_was_done(origin: str, name: str) -> None:
    assert route(origin=origin) == (name, "unchanged")


def test_without_a_shortlist_the_request_is_live() -> None:
    found = route_of(
        REQUEST, None, release="r", n_moves=0, now_ms=NOW_MS, depths=DEPTHS, settings=SETTINGS
    )  # fmt: skip
    assert found == ("live", "absent")


def test_a_shortlist_of_another_release_is_not_used() -> None:
    assert route(release="20261120-b") == ("live", "release")


def test_once_the_user_has_chosen_or_searched_something_the_shortlist_is_over() -> None:
    assert route(n_moves=10) == ("live", "chosen")
    assert route(n_moves=8) == ("live", "chosen"), "a state that was made anew"


@pytest.mark.parametrize(
    ("origin", "age_ms", "name"),
    [
        ("live", 29_999, "shortlist"),
        ("live", 30_000, "live"),
        ("speculation", 30_000, "live"),
        ("precompute", 99_999, "precomputed"),
        ("precompute", 100_000, "live"),
        ("live", -29_999, "shortlist"),
        ("live", -30_000, "live"),
    ],
)
def test_what_the_batch_made_holds_longer_and_nothing_holds_for_ever(origin: str, age_ms: int, name: str) -> None:
    assert route(origin=origin, made_ms=NOW_MS - age_ms).name == name


def test_a_shortlist_answers_only_the_region_and_filter_it_was_made_for() -> None:
    assert route(region="north") == ("live", "filter")
    assert route(genres=("Drama",)) == ("live", "filter")
    assert route(replace(REQUEST, region="north", genres=("Drama",)), region="north", genres=("Drama",)).name != "live"


@pytest.mark.parametrize(
    ("exit_name", "mode", "quality", "name"),
    [
        ("exit2", "", 1.0, "shortlist"),
        ("exit3", "", 1.0, "shortlist"),
        ("exit1", "", 1.0, "live"),
        ("exit1", "scroll", 1.0, "shortlist"),
        ("exit2", "dwell", 1.0, "live"),
        ("exit2", "dwell", 0.6, "shortlist"),
        ("exit9", "scroll", 1.0, "live"),
    ],
)
def test_a_shallower_look_than_the_request_wishes_is_not_enough(
    exit_name: str, mode: str, quality: float, name: str
) -> None:
    assert route(replace(REQUEST, mode=mode, quality=quality), exit=exit_name).name == name
