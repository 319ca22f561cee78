"""The popular slate that is ready: the one that rules would make, and only for whom it is that one."""

from dataclasses import replace

import numpy as np
import pytest

from tests.funnel.small_release import made_parts, release_of
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live, open_live
from upnext.funnel.request import SlateRequest
from upnext.serve.popular_slates import PopularSlates
from upnext.settings import Settings

REQUEST = SlateRequest(subject="u:ann", k=5)


@pytest.fixture
def live(tmp_path) -> Live:
    parts = made_parts()
    return open_live(release_of(tmp_path / "home", parts), Settings(), parts.world.clock)


def by_rules(live: Live, request: SlateRequest = REQUEST, seen: tuple[int, ...] = ()) -> list[int]:
    answer = Answer(live.funnel.popular())
    answer.seen_rows = np.array(seen, np.int32)
    return live.funnel.finish(request, answer).rows.tolist()


def test_it_is_what_the_rules_make_and_made_once(live: Live) -> None:
    slates = PopularSlates()
    slate = slates.of(live, REQUEST, 0)
    assert slate.prepared.slate.rows.tolist() == by_rules(live)
    assert slates.of(live, REQUEST, 0) is slate
    other = SlateRequest(subject=None, k=7)
    assert slates.of(live, other, 0).prepared.slate.rows.tolist() == by_rules(live, other)


def test_it_suits_whoever_has_seen_nothing_that_matters_to_it(live: Live) -> None:
    slate = PopularSlates().of(live, REQUEST, 0)
    keys, popular = live.funnel.catalog.keys, live.funnel.popular().rows.tolist()
    assert slate.suits(np.empty(0, np.uint64))
    for row in range(len(keys)):
        suits = slate.suits(np.sort(keys[[row]]))
        same = by_rules(live, seen=(row,)) == by_rules(live)
        assert same or not suits, f"row {row} changes the slate"
        assert suits == (row not in popular[: live.funnel.reranker.reach(5)])


def test_a_withdrawn_item_is_in_none_from_then_on(live: Live) -> None:
    slates = PopularSlates()
    first = slates.of(live, REQUEST, 0).prepared.slate.rows.tolist()
    live.funnel.reranker.withdraw(first[0])
    assert first[0] not in slates.of(live, REQUEST, 0).prepared.slate.rows.tolist()


def test_the_crowd_moving_makes_another(live: Live) -> None:
    slates = PopularSlates()
    before = slates.of(live, REQUEST, 0)
    live.funnel.crowd.trends.observe_many(np.full(500, 40, np.int32), np.full(500, 1_700_000_000_000))
    after = slates.of(live, REQUEST, 0)
    assert after is not before
    assert after.prepared.slate.rows.tolist() == by_rules(live)


def test_another_release_makes_its_own_and_nothing_is_left_of_the_one_before(live: Live) -> None:
    slates = PopularSlates()
    before = slates.of(live, REQUEST, 0)
    slates.of(live, SlateRequest(subject=None, k=7), 0)
    other = replace(live, release_id="another")
    assert slates.of(other, REQUEST, 0) is not before
    assert len(slates._slates) == 1


def test_where_too_little_is_popular_none_is_ready(live: Live) -> None:
    assert PopularSlates().of(live, SlateRequest(subject=None, k=60), 0) is None
