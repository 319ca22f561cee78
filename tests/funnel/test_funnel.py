"""One request from beginning to end: the answer only gets better, rules hold at any moment, nothing raises."""

import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.funnel.fakes import FakeRanker, World, fail, noted, ranked_of, rows_of, run
from upnext.clock import Deadline
from upnext.features.user_view import UserView
from upnext.funnel.answer import TIERS, Answer
from upnext.funnel.funnel import best_first
from upnext.funnel.request import SlateRequest
from upnext.settings import RankingSettings, RerankingSettings, RetrievalSettings, Settings

SMALL = RetrievalSettings(candidates=40, user_vector=20, session_vector=20, covisit=20, content=20, popular=20)
PLAIN = RerankingSettings(genre_gap=0, fresh_places=0, promoted_places=0)
SETTINGS = Settings(retrieval=SMALL, reranking=PLAIN)
STAGES = {"state", "retrieval", "ranking", "reranking"}
POPULAR = tuple(range(0, 60, 2))


def test_a_request_with_time_gets_the_rankers_order():
    world = World()
    funnel = world.funnel(SETTINGS, popular=POPULAR)
    answer = run(funnel, world.clock, world.view(seen=[3], recent=[3]))
    assert (answer.slate.tier, len(answer.slate.rows), noted(answer)) == ("full", 10, [])
    assert set(answer.timing_ms) == STAGES
    assert answer.state_version == 7
    candidates = answer.below[-1].rows
    best = candidates[np.argsort(-world.worth[candidates])][:10]
    assert answer.slate.rows.tolist() == best.tolist()
    assert answer.slate.scores.tolist() == world.worth[best].tolist()


def test_only_the_best_of_the_ranker_go_on():
    world = World()
    funnel = world.funnel(Settings(retrieval=SMALL, ranking=RankingSettings(top=6), reranking=PLAIN), popular=POPULAR)
    answer = run(funnel, world.clock, world.view())
    assert len(answer.ranked.rows) == 6
    assert answer.slate.tier == "full"
    assert answer.slate.rows.tolist()[:6] == answer.ranked.rows.tolist()
    fast = [row for row in answer.below[-1].rows.tolist() if row not in set(answer.ranked.rows.tolist())]
    assert answer.slate.rows.tolist()[6:] == fast[:4]


def test_a_ranker_that_raises_leaves_the_fast_tier():
    world = World()
    funnel = world.funnel(SETTINGS, ranker=FakeRanker(world.worth, fail), popular=POPULAR)
    answer = run(funnel, world.clock, world.view())
    assert (answer.slate.tier, noted(answer)) == ("fast", [("ranking", "error")])
    assert answer.slate.rows.tolist() == answer.ranked.rows[:10].tolist()
    assert set(answer.timing_ms) == STAGES


def test_without_a_ranker_answers_stop_at_the_fast_tier():
    world = World()
    answer = run(world.funnel(SETTINGS, ranker=None), world.clock, world.view())
    assert (answer.slate.tier, noted(answer)) == ("fast", [("ranking", "absent")])


def test_items_whose_score_is_not_a_number_are_not_ranked():
    world = World()
    world.worth[::2] = np.nan
    answer = run(world.funnel(SETTINGS, popular=POPULAR), world.clock, world.view())
    assert answer.slate.tier == "full"
    assert np.isfinite(answer.slate.scores).all()
    assert set(answer.ranked.rows % 2) == {1}


def test_a_ranker_that_gives_no_number_at_all_has_failed():
    world = World()
    world.worth[:] = np.nan
    answer = run(world.funnel(SETTINGS, popular=POPULAR), world.clock, world.view())
    assert (answer.slate.tier, noted(answer)) == ("fast", [("ranking", "error")])


def test_a_request_goes_on_when_state_cannot_be_read():
    world = World()
    funnel = world.funnel(SETTINGS, popular=POPULAR)
    answer = run(funnel, world.clock, read=lambda _: fail())
    assert noted(answer) == [("state", "error")]
    assert (answer.slate.tier, len(answer.slate.rows), answer.state_version) == ("full", 10, 0)
    assert set(answer.timing_ms) == STAGES


def test_a_broken_view_costs_retrieval_but_not_the_slate():
    world = World()
    funnel = world.funnel(SETTINGS, popular=POPULAR)
    answer = run(funnel, world.clock, UserView(recent_rows=rows_of(100_000)))
    assert (answer.slate.tier, noted(answer)) == ("popular", [("retrieval", "error")])
    assert answer.slate.rows.tolist() == list(POPULAR[:10])


def test_a_deadline_that_passes_in_retrieval_leaves_the_fast_tier():
    world = World()
    indexes = world.indexes(user=lambda: world.clock.advance(20))
    funnel = world.funnel(SETTINGS, indexes=indexes, popular=POPULAR)
    answer = run(funnel, world.clock, world.view(), budget_ms=20)
    assert answer.slate.tier == "fast"
    assert noted(answer)[-1] == ("ranking", "deadline")
    assert answer.timing_ms == {"state": 0, "retrieval": 20, "ranking": 0, "reranking": 0}


def test_a_deadline_that_passes_before_retrieval_leaves_what_is_popular():
    world = World()
    funnel = world.funnel(SETTINGS, popular=POPULAR)

    def read(_):
        world.clock.advance(20)
        return world.view(seen=[0])

    answer = run(funnel, world.clock, read=read, budget_ms=20)
    assert noted(answer) == [("retrieval", "deadline"), ("ranking", "deadline")]
    assert answer.slate.tier == "popular"
    assert answer.slate.rows.tolist() == list(POPULAR[1:11])
    assert answer.timing_ms == {"state": 20, "retrieval": 0, "ranking": 0, "reranking": 0}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 25),
    st.lists(st.integers(0, 39), unique=True, max_size=40),
    st.lists(st.integers(0, 39), unique=True, max_size=5),
    st.none() | st.lists(st.booleans(), min_size=40, max_size=40),
    st.integers(1, 20),
    st.sampled_from(["", "session", "user", "content", "ranker", "state"]),
)
def test_at_every_moment_there_is_a_slate_that_obeys_the_rules_and_it_never_gets_worse(
    budget_ms, seen, excluded, mask, k, broken
):
    world = World(40, available={1: False, 2: False})
    obeying = Settings(retrieval=SMALL, reranking=RerankingSettings(blocked=("5",), pinned=("7",)))
    allowed = None if mask is None else np.array(mask) & world.catalog.available
    request = SlateRequest(subject=None, k=k, exclude_rows=rows_of(*excluded), allowed=allowed)
    tiers: list[str] = []

    def check(slate) -> None:
        rows = slate.rows.tolist()
        open_to_all = set(range(40)) - {1, 2, 5, *excluded} - ({r for r in range(40) if mask and not mask[r]})
        unseen = open_to_all - set(answer.seen_rows.tolist())
        assert set(rows) <= (unseen or open_to_all)
        assert len(rows) == len(set(rows)) == min(k, len(unseen or open_to_all))
        assert 7 not in unseen or rows[0] == 7
        tiers.append(slate.tier)

    def stage(name):
        def before() -> None:
            check(funnel.finish(request, answer))
            world.clock.advance(5)
            check(funnel.finish(request, answer))
            if name == broken:
                fail()

        return before

    indexes = world.indexes(**{space: stage(space) for space in ("session", "user", "content")})
    ranker = FakeRanker(world.worth, stage("ranker"))
    funnel = world.funnel(obeying, ranker=ranker, indexes=indexes, popular=range(0, 40, 3))
    answer = Answer(funnel.popular())
    view = world.view(seen=seen, recent=seen[:3])

    def read(_):
        stage("state")()
        return view

    funnel.run(request, answer, read, Deadline.after(world.clock, budget_ms))
    check(answer.slate)
    assert tiers == sorted(tiers, key=TIERS.index)
    assert answer.slate.rows.tolist() == funnel.finish(request, answer).rows.tolist()
    assert set(answer.timing_ms) == STAGES


def test_nobody_known_and_nothing_chosen_yet_still_gets_a_slate():
    world = World()
    answer = run(world.funnel(SETTINGS), world.clock)
    assert (answer.slate.tier, answer.slate.rows.tolist()) == ("popular", list(range(10)))
    assert noted(answer) == []


def test_a_catalogue_of_one_item():
    world = World(1)
    funnel = world.funnel(SETTINGS, popular=[0])
    for view in (None, world.view(), world.view(seen=[0], recent=[0])):
        assert run(funnel, world.clock, view).slate.rows.tolist() == [0]
    assert run(funnel, world.clock, exclude_rows=rows_of(0)).slate.rows.tolist() == []


def test_a_catalogue_with_nothing_available_gives_an_empty_slate():
    world = World(2, available={0: False, 1: False})
    assert run(world.funnel(SETTINGS, popular=[0, 1]), world.clock, world.view()).slate.rows.tolist() == []


def test_seen_items_come_back_rather_than_an_empty_slate():
    world = World(30)
    funnel = world.funnel(SETTINGS, popular=[4, 2])
    answer = run(funnel, world.clock, world.view(seen=range(30), recent=[1]), exclude_rows=rows_of(4))
    assert (answer.slate.tier, answer.slate.rows.tolist()[:2]) == ("popular", [2, 0])
    assert len(answer.slate.rows) == 10


def test_one_unseen_item_is_not_joined_by_seen_ones():
    world = World(30)
    answer = run(world.funnel(SETTINGS), world.clock, world.view(seen=range(29)))
    assert answer.slate.rows.tolist() == [29]


def test_a_long_slate_reaches_down_to_the_end_of_the_catalogue():
    world = World(120)
    answer = run(world.funnel(SETTINGS, popular=[4, 2]), world.clock, world.view(seen=[119, 3]), k=200)
    assert answer.slate.tier == "full"
    assert sorted(answer.slate.rows.tolist()) == [row for row in range(120) if row not in (3, 119)]


def test_what_is_popular_is_made_anew_only_when_the_crowd_moves():
    world = World()
    funnel = world.funnel(SETTINGS)
    assert funnel.popular() is funnel.popular()
    assert funnel.popular().rows.tolist() == list(range(100))
    funnel.crowd.observe(1, 0, 42, 1_000)
    assert funnel.popular().rows.tolist() == [42]
    assert funnel.popular() is funnel.popular()


def test_a_worse_or_empty_ranking_is_not_taken():
    answer = Answer(ranked_of("popular", [1]))
    answer.offer(ranked_of("fast", []))
    assert answer.ranked.tier == "popular"
    answer.offer(ranked_of("full", [2]))
    answer.offer(ranked_of("fast", [3]))
    assert answer.ranked.rows.tolist() == [2]
    assert [each.rows.tolist() for each in answer.below] == [[1]]


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, -2.0, np.nan, np.inf]), max_size=20))
def test_ties_go_by_position_and_what_is_no_number_goes_last(scores):
    scores = np.array(scores, np.float32)
    order = best_first(scores).tolist()
    assert order == sorted(range(len(scores)), key=lambda at: (np.isnan(scores[at]), -np.nan_to_num(scores[at])))


def test_two_threads_may_finish_one_answer_while_it_is_written():
    world = World()
    funnel = world.funnel(SETTINGS, popular=POPULAR)
    request = SlateRequest(subject=None, k=10)
    answers: list[Answer] = [Answer(funnel.popular())]
    failures: list[str] = []
    done = threading.Event()
    seen = set(POPULAR)

    def reader() -> None:
        while not done.is_set():
            answer = answers[-1]
            slate = funnel.finish(request, answer)
            if len(slate.rows) != 10 or (slate.tier != "popular" and set(slate.rows.tolist()) & seen):
                failures.append(f"{slate.tier} {slate.rows}")

    thread = threading.Thread(target=reader)
    thread.start()
    view = world.view(seen=POPULAR)
    for _ in range(150):
        answers.append(Answer(funnel.popular()))
        funnel.run(request, answers[-1], lambda _: view, Deadline.never(world.clock))
    done.set()
    thread.join()
    assert failures == []


class Overtaken(Answer):
    """Written by another thread at the very moment `ranked` is read: the user's state and a better ranking arrive."""

    def __getattribute__(self, name):
        if name == "ranked" and not self.seen_rows.size:
            self.seen_rows = rows_of(0, 2)
            self.offer(ranked_of("fast", [30, 31]))
        return super().__getattribute__(name)


def test_a_ranking_is_never_topped_up_with_items_known_to_be_seen_when_it_was_made():
    world = World()
    funnel = world.funnel(SETTINGS, popular=POPULAR)
    slate = funnel.finish(SlateRequest(subject=None, k=4), Overtaken(funnel.popular()))
    assert (slate.tier, slate.rows.tolist()) == ("fast", [30, 31, 4, 6])


def test_the_crowd_may_move_while_requests_read_it():
    world = World()
    funnel = world.funnel(SETTINGS)
    done = threading.Event()

    def follow() -> None:
        rng, at_ms = np.random.default_rng(0), 1_700_000_000_000
        while not done.is_set():
            at_ms += int(rng.integers(0, 40 * 86_400_000))  # so far apart that decayed counts are brought back often
            for visitor, row in enumerate(rng.integers(0, 200, 20).tolist()):
                funnel.crowd.observe(visitor % 5, 0, row, at_ms)

    thread = threading.Thread(target=follow)
    thread.start()
    view = world.view(seen=[3], recent=[3, 9, 40])
    answers = [run(funnel, world.clock, view) for _ in range(150)]
    done.set()
    thread.join()
    assert {answer.slate.tier for answer in answers} == {"full"}
    assert {len(answer.slate.rows) for answer in answers} == {10}
    assert [noted(answer) for answer in answers if answer.degraded] == []
