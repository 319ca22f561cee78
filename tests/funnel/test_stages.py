"""Under pressure: what a request does not start, how deep it looks, and what breakers and costs are told."""

import numpy as np
import pytest

from tests.funnel.fakes import World, fail, noted, rows_of, run
from upnext.clock import Deadline
from upnext.errors import SettingsError, StoreError
from upnext.features.signals import Signals, signals_of
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.request import SlateRequest
from upnext.funnel.stage_cost import StageCosts as LearntCosts
from upnext.funnel.stages import Stages
from upnext.settings import PressureSettings, RankingSettings, RerankingSettings, RetrievalSettings, Settings

WIDE = RetrievalSettings(candidates=150, user_vector=150, session_vector=150, covisit=150, content=150, popular=150)
PLAIN = RerankingSettings(genre_gap=0, fresh_places=0, promoted_places=0)
SETTINGS = Settings(retrieval=WIDE, reranking=PLAIN)
POPULAR = tuple(range(0, 60, 2))
TOOK = {"state": 1.0, "retrieval": 4.0, "ranking:shallow": 2.0, "ranking:middle": 5.0, "ranking:deep": 9.0}


class Costs:
    """p99 as told; keeps what it observes."""

    def __init__(self, **p99_ms: float) -> None:
        self._p99_ms = {name.replace("__", ":"): ms for name, ms in p99_ms.items()}
        self.observed: list[tuple[str, float]] = []
        self.skips: list[str] = []

    def observe(self, stage: str, spent_ms: float) -> None:
        self.observed.append((stage, spent_ms))

    def skipped(self, stage: str) -> None:
        self.skips.append(stage)

    def p99_ms(self, stage: str) -> float:
        return self._p99_ms.get(stage, 0.0)


class FakeBreaker:
    """Open or not, as told; keeps what it is asked and told."""

    def __init__(self, *, open: bool = False) -> None:
        self._open, self.asked = open, 0
        self.records: list[tuple[float, bool]] = []

    def allow(self) -> bool:
        self.asked += 1
        return not self._open

    def record(self, spent_ms: float, ok: bool) -> None:
        self.records.append((spent_ms, ok))


class DeepRanker:
    """Three exits that take their time; each knows what an item is worth, the deepest best."""

    exits, default_exit = ("shallow", "middle", "deep"), "middle"

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: list[tuple[str, int]] = []

    def score(self, rows, user, cross, exit_name):
        self.asked.append((exit_name, len(rows)))
        self._world.clock.advance(TOOK[f"ranking:{exit_name}"])
        return self._world.worth[rows] * (self.exits.index(exit_name) + 1)


class Pressed:
    """A world in which stages take the time of `TOOK`, and a funnel over it."""

    def __init__(self, settings: Settings = SETTINGS, *, costs=None, breakers=None, read_fails=None, **world) -> None:
        self.world = World(**world)
        self.ranker, self.costs, self.breakers = DeepRanker(self.world), costs or Costs(), breakers or {}
        self.searches = 0
        indexes = self.world.indexes(user=self._search)
        self.funnel = self.world.funnel(settings, ranker=self.ranker, indexes=indexes, popular=POPULAR)
        self.funnel.stages = Stages(self.costs, self.breakers)
        self.seen = self.world.view(seen=[0, 5], recent=[5])
        self.read_fails = read_fails

    def _search(self) -> None:
        self.searches += 1
        self.world.clock.advance(TOOK["retrieval"])

    def read(self, _) -> UserView:
        self.world.clock.advance(TOOK["state"])
        if self.read_fails:
            raise self.read_fails
        return self.seen

    def answer(self, budget_ms=float("inf"), **request) -> Answer:
        return run(self.funnel, self.world.clock, read=self.read, budget_ms=budget_ms, **request)


@pytest.mark.parametrize(
    ("mode", "name"), [("scroll", "shallow"), ("browse", "middle"), ("dwell", "deep"), ("", "middle")]
)
def test_the_mode_picks_the_exit_and_the_answer_says_which(mode, name):
    pressed = Pressed()
    answer = pressed.answer(mode=mode)
    assert (answer.slate.tier, answer.exit, noted(answer)) == ("full", name, [])
    assert pressed.ranker.asked == [(name, len(answer.below[-1].rows))]
    assert answer.timing_ms["ranking"] == TOOK[f"ranking:{name}"]


def test_an_exit_named_in_the_settings_is_used_whatever_the_mode_and_without_a_request():
    pressed = Pressed(Settings(retrieval=WIDE, ranking=RankingSettings(exit="deep")))
    assert pressed.answer(mode="scroll", quality=0.1).exit == "deep"
    pressed.funnel.score(pressed.seen, _signals(pressed), rows_of(1), np.ones(1, np.uint8))
    assert pressed.ranker.asked[-1] == ("deep", 1)
    with pytest.raises(SettingsError, match="'deeper'"):
        Pressed(Settings(ranking=RankingSettings(exit="deeper")))


def test_scores_without_a_request_are_of_the_releases_default():
    pressed = Pressed()
    pressed.funnel.score(pressed.seen, _signals(pressed), rows_of(1, 2), np.ones(2, np.uint8))
    assert pressed.ranker.asked == [("middle", 2)]


# After state (1) and retrieval (4), a budget of 15 leaves 10, of which re-ranking takes 1 at p99.
@pytest.mark.parametrize(
    ("budget_ms", "name"),
    [(15, "deep"), (14.9, "middle"), (11, "middle"), (10.9, "shallow"), (8, "shallow"), (7.9, "")],
)
def test_the_deepest_exit_that_leaves_time_for_reranking_ranks(budget_ms, name):
    pressed = Pressed(costs=Costs(reranking=1.0, **{key.replace(":", "__"): ms for key, ms in TOOK.items()}))
    answer = pressed.answer(budget_ms, mode="dwell")
    assert answer.exit == name
    assert answer.slate.tier == ("full" if name else "fast")
    assert noted(answer) == ([] if name else [("ranking", "no_time")])
    assert len(pressed.ranker.asked) == bool(name)
    passed_over = pressed.ranker.exits[pressed.ranker.exits.index(name) + 1 :] if name else pressed.ranker.exits
    assert pressed.costs.skips == [f"ranking:{each}" for each in reversed(passed_over)]


@pytest.mark.parametrize(("budget_ms", "starts"), [(6, True), (5.9, False)])
def test_retrieval_is_not_started_when_it_does_not_fit_before_reranking(budget_ms, starts):
    pressed = Pressed(costs=Costs(retrieval=4.0, reranking=1.0, ranking__middle=50.0, ranking__shallow=50.0))
    answer = pressed.answer(budget_ms)
    assert (pressed.searches, answer.slate.tier) == ((1, "fast") if starts else (0, "popular"))
    assert noted(answer) == [("ranking", "no_time") if starts else ("retrieval", "no_time")]
    assert ("retrieval" in pressed.costs.skips) is not starts
    assert answer.slate.rows.tolist()[:2] != [0, 2], "what the user has seen is known all the same"


def test_costs_are_told_of_every_stage_that_came_through():
    pressed = Pressed()
    pressed.answer(mode="dwell")
    expected = [("state", 1.0), ("retrieval", 4.0), ("ranking:deep", 9.0), ("reranking", 0.0)]
    assert pressed.costs.observed == expected


def test_costs_are_not_told_of_what_failed_or_was_not_started():
    failing = Pressed(read_fails=StoreError("gone"))
    failing.funnel.ranker = FailingRanker()
    answer = failing.answer()
    assert noted(answer) == [("state", "error"), ("ranking", "error")]
    assert failing.costs.observed == [("retrieval", 0.0), ("reranking", 0.0)], "nobody known: nothing to search for"
    unstarted = Pressed()
    unstarted.answer(most="popular")
    assert [stage for stage, _ in unstarted.costs.observed] == ["state", "reranking"]


@pytest.mark.parametrize(
    ("quality", "n", "name"), [(1.0, 150, "deep"), (0.6, 90, "middle"), (0.5, 75, "middle"), (0.2, 50, "shallow")]
)
def test_quality_scales_how_many_are_ranked_and_how_deep(quality, n, name):
    pressed = Pressed(n_items=400)
    answer = pressed.answer(quality=quality, mode="dwell")
    assert pressed.ranker.asked == [(name, n)]
    assert len(answer.ranked.rows) == min(n, 100)
    assert set(answer.ranked.rows.tolist()) <= set(answer.below[-1].rows[:n].tolist())
    assert (answer.slate.tier, len(answer.below[-1].rows)) == ("full", 150)


def test_as_many_as_are_asked_for_are_ranked_at_least():
    pressed = Pressed(n_items=400)
    answer = pressed.answer(quality=0.1, k=80)
    assert pressed.ranker.asked == [("shallow", 80)]
    assert (answer.slate.tier, len(answer.slate.rows)) == ("full", 80)


def test_what_the_ranker_was_given_is_what_was_ranked():
    pressed = Pressed(n_items=400)
    answer = Answer(pressed.funnel.popular(), capture=True)
    request = SlateRequest(subject="u:1", k=10, quality=0.5)
    pressed.funnel.run(request, answer, pressed.read, Deadline.never(pressed.world.clock))
    assert len(answer.inputs.rows) == len(answer.inputs.cross) == 75


def test_a_request_for_the_fast_tier_is_not_ranked():
    pressed = Pressed()
    answer = pressed.answer(most="fast")
    assert (answer.slate.tier, answer.exit, noted(answer)) == ("fast", "", [])
    assert pressed.ranker.asked == []
    assert set(answer.timing_ms) == {"state", "retrieval", "ranking", "reranking"}


def test_a_request_for_the_popular_tier_obeys_the_rules_and_costs_no_search():
    pressed = Pressed()
    answer = pressed.answer(most="popular", exclude_rows=rows_of(2))
    assert (answer.slate.tier, answer.slate.rows.tolist(), noted(answer)) == ("popular", list(range(4, 24, 2)), [])
    assert (pressed.searches, pressed.ranker.asked) == (0, [])


def test_closed_breakers_are_told_how_each_call_went():
    breakers = {name: FakeBreaker() for name in ("state", "retrieval", "ranker")}
    pressed = Pressed(breakers=breakers)
    assert noted(pressed.answer(mode="dwell")) == []
    assert {name: each.records for name, each in breakers.items()} == {
        "state": [(1.0, True)], "retrieval": [(4.0, True)], "ranker": [(9.0, True)]
    }  # fmt: skip


def test_closed_breakers_are_told_of_failures():
    breakers = {name: FakeBreaker() for name in ("state", "retrieval", "ranker")}
    pressed = Pressed(breakers=breakers, read_fails=ValueError("broken on purpose"))
    pressed.funnel.ranker = FailingRanker()
    assert noted(pressed.answer()) == [("state", "error"), ("ranking", "error")]
    assert breakers["state"].records == [(1.0, False)]
    assert breakers["ranker"].records == [(0.0, False)]
    pressed.read_fails, pressed.seen = None, UserView(recent_rows=rows_of(100_000))
    assert noted(pressed.answer()) == [("retrieval", "error")]
    assert [ok for _, ok in breakers["retrieval"].records] == [True, False]


@pytest.mark.parametrize(
    ("name", "stage", "tier"),
    [("state", "state", "full"), ("retrieval", "retrieval", "popular"), ("ranker", "ranking", "fast")],
)
def test_what_an_open_breaker_guards_is_skipped(name, stage, tier):
    breaker = FakeBreaker(open=True)
    pressed = Pressed(breakers={name: breaker})
    answer = pressed.answer()
    assert (answer.slate.tier, noted(answer)) == (tier, [(stage, "breaker_open")])
    assert (len(answer.slate.rows), answer.timing_ms[stage]) == (10, 0.0)
    assert breaker.records == []
    left_out = {"retrieval": ("retrieval", "ranking")}.get(stage, (stage,))
    through = [each for each in ("state", "retrieval", "ranking", "reranking") if each not in left_out]
    assert [cost.partition(":")[0] for cost, _ in pressed.costs.observed] == through


def test_a_breaker_is_not_asked_about_what_is_not_started_anyway():
    breakers = {name: FakeBreaker() for name in ("state", "retrieval", "ranker")}
    pressed = Pressed(breakers=breakers, costs=Costs(ranking__shallow=50.0, ranking__middle=50.0))
    pressed.answer(20)
    pressed.answer(most="fast")
    pressed.answer(most="popular")
    assert {name: each.asked for name, each in breakers.items()} == {"state": 3, "retrieval": 2, "ranker": 0}
    assert all(each.asked == len(each.records) for each in breakers.values())


def test_nobodys_state_says_nothing_of_the_store():
    breaker = FakeBreaker(open=True)
    pressed = Pressed(breakers={"state": breaker})
    assert noted(pressed.answer(subject=None)) == []
    assert breaker.asked == 0
    assert "state" not in dict(pressed.costs.observed)


def test_a_stage_that_is_given_up_has_failed_once_and_what_it_cost_is_not_learnt():
    breakers = {"ranker": FakeBreaker(), "retrieval": FakeBreaker()}
    pressed = Pressed(breakers=breakers)
    answer, score = Answer(pressed.funnel.popular()), pressed.ranker.score

    def hang(*arguments):
        pressed.funnel.stages.give_up(answer, 150.0)
        pressed.funnel.stages.give_up(answer, 160.0)
        return score(*arguments)

    pressed.ranker.score = hang
    request = SlateRequest(subject="u:1", k=10)
    pressed.funnel.run(request, answer, pressed.read, Deadline.never(pressed.world.clock))
    assert breakers["ranker"].records == [(150.0, False)]
    assert breakers["retrieval"].records == [(4.0, True)]
    assert [stage for stage, _ in pressed.costs.observed] == ["state", "retrieval", "reranking"]
    assert answer.slate.tier == "full", "it came after all, and makes the answer no worse"
    pressed.funnel.stages.give_up(answer, 170.0)
    assert len(breakers["ranker"].records) == 1


def test_a_ranker_that_was_slow_for_a_moment_is_tried_again_and_goes_on():
    pressed = Pressed()
    costs = LearntCosts(PressureSettings(stage_half_life_calls=50))
    pressed.funnel.stages = Stages(costs)
    for _ in range(64):  # as by calls that hung and came back
        for name in pressed.ranker.exits:
            costs.observe(f"ranking:{name}", 2_000.0)
    exits = [pressed.answer(30.0, mode="dwell").exit for _ in range(1_500)]
    assert exits[:64] == [""] * 64
    assert exits[-300:].count("deep") >= 297


class FailingRanker(DeepRanker):
    def __init__(self) -> None:
        pass

    def score(self, rows, user, cross, exit_name):
        fail()


def _signals(pressed: Pressed) -> Signals:
    funnel = pressed.funnel
    return signals_of(pressed.seen, funnel.catalog, funnel.vectors, funnel.crowd)
