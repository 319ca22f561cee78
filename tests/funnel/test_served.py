"""What is kept of a slate is what the ranker saw, item by item."""

import numpy as np

from tests.funnel.fakes import FakeRanker, World, fail, rows_of, run
from upnext.clock import Deadline
from upnext.funnel.answer import Answer, RankerInputs
from upnext.funnel.request import SlateRequest
from upnext.funnel.served import cross_of, served_slate
from upnext.settings import RerankingSettings, RetrievalSettings, Settings

SMALL = RetrievalSettings(candidates=40, user_vector=20, session_vector=20, covisit=20, content=20, popular=20)
POPULAR = tuple(range(0, 60, 2))
REQUEST = SlateRequest(subject="u:1", k=10, surface="home")


class Watched(FakeRanker):
    """Remembers what it was given."""

    def score(self, rows, user, cross, exit_name):
        self.given = RankerInputs(rows.copy(), user.copy(), cross.copy())
        return super().score(rows, user, cross, exit_name)


def answered(world: World, funnel, *, capture: bool = True, request=REQUEST, budget_ms=float("inf")) -> Answer:
    answer = Answer(funnel.popular(), capture=capture)
    view = world.view(seen=[3], recent=[3, 9])
    funnel.run(request, answer, lambda _: view, Deadline.after(world.clock, budget_ms))
    return answer


def record(world: World, funnel, answer: Answer, request=REQUEST):
    ids = world.catalog.ids.take(answer.slate.rows)
    return served_slate(request, answer, answer.slate, funnel, request_id="r", served_ms=5, release="r1", item_ids=ids)


def test_the_features_are_those_the_ranker_was_given_in_the_order_of_the_slate():
    world = World(published_ms={row: World().clock.now_ms() for row in range(0, 200, 7)})  # some move up
    ranker = Watched(world.worth)
    funnel = world.funnel(Settings(retrieval=SMALL), ranker=ranker, popular=POPULAR)
    answer = answered(world, funnel)
    kept = record(world, funnel, answer)
    given = ranker.given
    assert (kept.tier, kept.subject, kept.surface, kept.state_version, kept.served_ms) == ("full", "u:1", "home", 7, 5)
    assert kept.item_ids == [str(row) for row in answer.slate.rows]
    assert kept.scores == [float(world.worth[row]) for row in answer.slate.rows]
    assert kept.sources == answer.slate.sources.tolist()
    assert kept.spec == funnel.assembler.spec.digest()
    assert kept.user_features().tobytes() == given.user.tobytes()
    cross = kept.cross_features()
    assert cross.shape == (10, len(funnel.assembler.spec.cross))
    for place, row in enumerate(answer.slate.rows):
        assert cross[place].tobytes() == given.cross[given.rows.tolist().index(row)].tobytes()


def test_nothing_is_kept_unless_asked():
    world = World()
    funnel = world.funnel(Settings(retrieval=SMALL), popular=POPULAR)
    answer = answered(world, funnel, capture=False)
    assert answer.slate.tier == "full"
    assert answer.inputs is None
    assert record(world, funnel, answer).spec == ""


def test_a_request_that_did_not_reach_the_ranker_keeps_its_slate_without_features():
    world = World()
    slow = world.indexes(user=lambda: world.clock.advance(20))
    fast = world.funnel(Settings(retrieval=SMALL), indexes=slow, popular=POPULAR)
    broken = world.funnel(Settings(retrieval=SMALL), ranker=FakeRanker(world.worth, fail), popular=POPULAR)
    for funnel, budget_ms in ((fast, 20), (broken, float("inf"))):
        answer = answered(world, funnel, budget_ms=budget_ms)
        kept = record(world, funnel, answer)
        assert (kept.tier, len(kept.item_ids), kept.spec, kept.user, kept.cross) == ("fast", 10, "", b"", b"")
        assert kept.sources == answer.slate.sources.tolist() != [0] * 10


def test_items_that_were_not_ranked_have_no_number_for_features():
    world = World(60)
    settings = Settings(retrieval=SMALL, reranking=RerankingSettings(pinned=("59",)))
    request = SlateRequest(subject="u:1", k=50)  # more than the candidates: topped up from the catalogue
    ranker = Watched(world.worth)
    funnel = world.funnel(settings, ranker=ranker, popular=POPULAR)
    answer = answered(world, funnel, request=request)
    cross = record(world, funnel, answer, request).cross_features()
    candidates = set(ranker.given.rows.tolist())
    ranked = np.array([row in candidates for row in answer.slate.rows])
    assert 0 < ranked.sum() < 50
    assert np.isfinite(cross).all(axis=1).tolist() == ranked.tolist()
    assert np.isnan(cross[~ranked]).all()


def test_an_empty_slate_has_no_features():
    inputs = RankerInputs(rows_of(4, 2), np.zeros(3, np.float32), np.ones((2, 5), np.float32))
    assert cross_of(rows_of(), inputs).shape == (0, 5)
    assert cross_of(rows_of(2), inputs).tolist() == [[1] * 5]


def test_whoever_holds_a_full_ranking_has_its_inputs():
    world = World()
    held: list[bool] = []

    class Watching(Answer):
        def offer(self, ranked):
            held.append(ranked.tier != "full" or self.inputs is not None)
            super().offer(ranked)

    funnel = world.funnel(Settings(retrieval=SMALL), popular=POPULAR)
    funnel.run(REQUEST, Watching(funnel.popular(), capture=True), lambda _: world.view(), Deadline.never(world.clock))
    assert held == [True, True]
    assert run(funnel, world.clock, world.view()).inputs is None
