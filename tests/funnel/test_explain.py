"""Each rule is told with what it did: on a small funnel whose right answers are known."""

import numpy as np

from tests.funnel.fakes import NOW_MS, World, ranked_of, rows_of
from upnext.clock import Deadline
from upnext.funnel.explain import explain
from upnext.funnel.explained import Explained, ItemTrace
from upnext.funnel.request import SlateRequest
from upnext.funnel.reranking.reranker import Reranker
from upnext.settings import RerankingSettings, RetrievalSettings, Settings

N_ITEMS, K = 40, 6
PLAIN = RerankingSettings(genre_gap=0, fresh_places=0, promoted_places=0)


def told(world: World, reranking: RerankingSettings, *, seen=(), **request) -> tuple[Explained, dict[str, ItemTrace]]:
    """The request explained, and its items by id. The ranker puts the highest number of an item first."""
    world.worth = np.arange(N_ITEMS, dtype=np.float32)
    settings = Settings(reranking=reranking, retrieval=RetrievalSettings(candidates=N_ITEMS))
    funnel = world.funnel(settings, popular=range(N_ITEMS))
    view = world.view(seen=seen, recent=(1, 2))
    found = explain(
        funnel, SlateRequest(**{"subject": "u:1", "k": K} | request), lambda _: view, Deadline.never(world.clock),
        release="r", clock=world.clock,
    )  # fmt: skip
    return found, {item.item_id: item for item in found.items}


def moves(item: ItemTrace) -> list[tuple[str, int | None, int | None]]:
    return [(move.rule, move.before, move.after) for move in item.moves]


def slate(found: Explained) -> list[str]:
    return [item.item_id for item in found.items if item.place]


def test_without_rules_the_slate_is_the_order_of_the_ranker() -> None:
    found, items = told(World(N_ITEMS), PLAIN)
    assert slate(found) == ["39", "38", "37", "36", "35", "34"]
    assert [items["37"].ranker_rank, items["37"].place, items["37"].ranker_score] == [3, 3, 37.0]
    assert moves(items["37"]) == []
    assert moves(items["33"]) == [("cut", 7, None)]
    assert found.rules == {"cut": N_ITEMS - K}


def test_items_that_may_not_leave_are_told_with_the_reason() -> None:
    world = World(N_ITEMS, available={36: False})
    blocked = RerankingSettings(genre_gap=0, fresh_places=0, promoted_places=0, blocked=("37",))
    found, items = told(world, blocked, seen=(39, 38), exclude_rows=rows_of(35))
    assert slate(found) == ["34", "33", "32", "31", "30", "29"]
    dropped = {item_id: [rule for rule, _, after in moves(items[item_id])] for item_id in ("35", "38", "39")}
    assert dropped == {"35": ["excluded"], "38": ["seen"], "39": ["seen"]}
    assert found.rules["seen"] == 2
    for item_id in ("36", "37"):  # no source brings what nobody may be shown
        assert item_id not in items or items[item_id].place is None


def test_fresh_promoted_and_pinned_items_tell_from_where_to_where() -> None:
    world = World(N_ITEMS, promoted={36: True}, published_ms={34: NOW_MS - 1})
    rules = RerankingSettings(genre_gap=0, fresh_places=2, promoted_places=3, pinned=("5",))
    found, items = told(world, rules)
    assert slate(found) == ["5", "36", "39", "38", "37", "34"]
    assert moves(items["36"]) == [("boost", 4, 1), ("pin", 1, 2)]
    assert items["36"].moves[0].why == "promoted"
    assert moves(items["34"]) == [("boost", 6, 5), ("pin", 5, 6)]
    assert items["34"].moves[0].why == "fresh"
    assert moves(items["5"])[-1] == ("pin", None, 1)
    assert items["39"].moves[0].why == "for fresh or promoted items"


def test_items_of_one_genre_tell_that_they_were_moved_apart() -> None:
    world = World(N_ITEMS, genres={row: ("Drama" if row > 36 else f"genre {row}",) for row in range(N_ITEMS)})
    found, items = told(world, RerankingSettings(genre_gap=1, fresh_places=0, promoted_places=0))
    assert slate(found) == ["39", "36", "38", "35", "37", "34"]
    assert moves(items["38"]) == [("genre_gap", 2, 3)]
    assert moves(items["36"]) == [("genre_gap", 4, 2)]


def test_the_steps_of_the_rules_end_in_the_slate_that_leaves() -> None:
    world = World(N_ITEMS, promoted={7: True, 11: True}, published_ms={8: NOW_MS - 1})
    reranker = Reranker(world.catalog, RerankingSettings(pinned=("20", "3"), blocked=("5",)))
    rng = np.random.default_rng(1)
    for _ in range(50):
        ranked, below = ranked_of("full", rng.permutation(N_ITEMS)[:12]), ranked_of("fast", rng.permutation(N_ITEMS))
        request = SlateRequest(subject=None, k=int(rng.integers(1, 30)), exclude_rows=rows_of(*rng.integers(0, 40, 3)))
        seen = rows_of(*rng.integers(0, N_ITEMS, 4))
        steps = reranker.steps(ranked, request, seen, NOW_MS, [below])
        expected = reranker.slate(ranked, request, seen, NOW_MS, [below])
        assert steps.slate.rows.tolist() == expected.rows.tolist()
        assert steps.slate.scores.tolist() == expected.scores.tolist()
        assert set(steps.kept.tolist()) <= set(steps.filled.tolist())
