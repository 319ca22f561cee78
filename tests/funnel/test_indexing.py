"""Posted items move into the vector indexes while requests go on, and are found there as they were one by one."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.funnel.fakes import noted, run
from tests.funnel.small_release import N_ITEMS, topic_item
from tests.funnel.test_fresh import post
from upnext.features.spec import SOURCE_BIT
from upnext.funnel.live import Live, open_live
from upnext.release.release import Release
from upnext.settings import ItemSettings, RerankingSettings, RetrievalSettings, Settings

TOPIC = 1
AFTER = 4  # of which the newest 2 stay out


def opened(release: Release, parts, *, index_after: int = AFTER) -> Live:
    settings = Settings(
        reranking=RerankingSettings(genre_gap=0),
        items=ItemSettings(neighbours=3, index_after=index_after),
        retrieval=RetrievalSettings(popular=0, trending=0, covisit=0, session_knn=0),
    )
    return open_live(release, settings, parts.world.clock)


def posted(live: Live, n: int, start: int = 0) -> None:
    post(live, *(topic_item(f"new{number}", TOPIC) for number in range(start, start + n)))


def slate(live: Live, parts, allowed=None) -> dict[int, int]:
    """Sources by row, of a slate long enough for all there is; filtered inside the searches."""
    allowed = np.ones(live.funnel.catalog.n_items, np.bool_) if allowed is None else allowed
    answer = run(
        live.funnel,
        parts.world.clock,
        replace(parts.world.view(recent=(1, 4, 7)), n_interactions=3),
        k=100,
        allowed=allowed,
    )
    assert noted(answer) == []
    return dict(zip(answer.slate.rows.tolist(), answer.slate.sources.tolist(), strict=True))


def test_old_posted_items_come_from_the_indexes_and_the_newest_one_by_one(release, parts):
    live = opened(release, parts)
    posted(live, 5)
    before = slate(live, parts)
    assert {row for row, bits in before.items() if bits & SOURCE_BIT["fresh"]} == set(range(N_ITEMS, N_ITEMS + 5))
    assert live.indexing.work()
    assert live.funnel.retrieval.n_indexed == N_ITEMS + 3
    after = slate(live, parts)
    assert set(after) == set(before)
    assert {row for row, bits in after.items() if bits & SOURCE_BIT["fresh"]} == {N_ITEMS + 3, N_ITEMS + 4}
    assert all(after[row] & SOURCE_BIT["session_vector"] for row in range(N_ITEMS, N_ITEMS + 3))


@pytest.mark.parametrize("index_after", [0, 6])
def test_few_items_or_none_wanted_are_left_out(release, parts, index_after):
    live = opened(release, parts, index_after=index_after)
    posted(live, 5)
    indexes = live.funnel.retrieval.indexes
    assert not live.indexing.work()
    assert live.funnel.retrieval.indexes is indexes


def test_nothing_is_built_twice(release, parts):
    live = opened(release, parts)
    posted(live, 5)
    assert live.indexing.work()
    assert not live.indexing.work()
    posted(live, 2, start=5)  # four are out now
    assert live.indexing.work()
    assert live.funnel.retrieval.n_indexed == N_ITEMS + 5


def test_an_item_that_waits_for_its_vectors_keeps_those_after_it_out(release, parts):
    live = opened(release, parts)
    posted(live, 5)
    post(live, topic_item("new2", TOPIC, title="another"), take_in=False)
    assert not live.indexing.work()  # only two before it are settled
    live.fresh.take_in()
    assert live.indexing.work()


def test_an_item_that_changed_after_it_was_indexed_is_found_as_it_is_now(release, parts):
    live = opened(release, parts)
    posted(live, 5)
    live.indexing.work()
    post(live, topic_item("new0", TOPIC + 1))  # of another topic, so its vectors are others
    assert live.indexing.work()
    index, table = live.funnel.retrieval.indexes.user, live.funnel.vectors.user
    (scores,), (rows,) = index.search(np.array(table[N_ITEMS])[None], 1)
    np.testing.assert_allclose(scores[0], table[rows[0]] @ table[N_ITEMS], rtol=1e-2)
    assert rows[0] == N_ITEMS or table[rows[0]] @ table[N_ITEMS] >= table[N_ITEMS] @ table[N_ITEMS] * 0.999


def test_an_item_posted_again_as_it_was_builds_nothing(release, parts):
    live = opened(release, parts)
    posted(live, 5)
    live.indexing.work()
    posted(live, 5)
    assert not live.indexing.work()


def test_a_withdrawn_item_leaves_no_more_from_the_indexes_either(release, parts):
    live = opened(release, parts)
    posted(live, 5)
    live.indexing.work()
    post(live, "new1")
    assert N_ITEMS + 1 not in slate(live, parts)
    assert set(range(N_ITEMS, N_ITEMS + 5)) - {N_ITEMS + 1} <= set(slate(live, parts))


class Meanwhile(np.ndarray):
    """A mask at whose reading something else happens."""

    def __rand__(self, other):
        self.work()
        return np.asarray(self) & other


def test_a_request_goes_on_with_the_indexes_that_it_began_with(release, parts):
    live = opened(release, parts)
    posted(live, 5)
    allowed = np.ones(live.funnel.catalog.n_items, np.bool_).view(Meanwhile)
    allowed.work = live.indexing.work
    found = slate(live, parts, allowed)
    assert live.funnel.retrieval.n_indexed == N_ITEMS + 3
    assert {row for row, bits in found.items() if bits & SOURCE_BIT["fresh"]} == set(range(N_ITEMS, N_ITEMS + 5))


def test_slates_are_whole_while_indexes_change_hands(release, parts):
    live = opened(release, parts, index_after=1)
    stop = threading.Event()
    problems: list[BaseException] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                assert len(slate(live, parts)) >= N_ITEMS - 3
        except BaseException as error:
            problems.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number in range(12):
            posted(live, 1, start=number)
            live.indexing.work()
    finally:
        stop.set()
        asking.join(timeout=30)
    assert problems == []
    assert live.funnel.retrieval.n_indexed == N_ITEMS + 12
