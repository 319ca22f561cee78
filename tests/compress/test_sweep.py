"""What was tried is measured as written down, and the fastest that is good enough is taken."""

import dataclasses
from itertools import product

import msgspec
import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, small_config
from upnext.compress.choose import choose, fastest, pareto_front
from upnext.compress.pareto import pareto_png
from upnext.compress.parity import ParityBounds, check_parity
from upnext.compress.served import served_parity, served_ranker
from upnext.compress.sweep import SweepRow, gains_of_first, sweep
from upnext.compress.widths import Widths, pruned_models, quantize_widths
from upnext.errors import ParityError
from upnext.models.ranker_dnn import score_lists
from upnext.training.metrics import ndcg, places_in_scores
from upnext.training.ranker_loop import train_ranker

PRECISIONS = ("float32", "int8", "int4")
UNSEEN = planted_lists(100, seed=9, shortest=15)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def widths() -> Widths:
    config = small_config(first_width=64, hidden=(48, 32, 32), prior_column=0)
    lists = planted_lists()
    model = train_ranker(lists, config, seed=1)
    return quantize_widths(pruned_models(model, (1.0, 0.5), lists, epochs=1, seed=0), lists)


@pytest.fixture(scope="module")
def rows(widths: Widths) -> list[SweepRow]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upnext.compress.timing.ROUNDS", 2)
        return sweep(widths, PRECISIONS, (500, 20), UNSEEN)


def test_every_exit_width_precision_and_number_of_candidates_is_tried_once(rows):
    tried = [(row.exit_depth, row.width, row.precision, row.candidates) for row in rows]
    assert sorted(tried) == sorted(product((1, 2, 3), (1.0, 0.5), PRECISIONS, (40, 20)))


def test_rows_hold_the_quality_of_their_own_graph(rows, widths):
    for row in rows:
        if row.precision == "float32" and row.candidates == 40:
            scores = score_lists(widths.by_share[row.width].model, UNSEEN, row.exit_depth)
            assert row.ndcg == pytest.approx(ndcg(places_in_scores(scores, UNSEEN.target), 10), abs=0.01)
            assert row.rank_agreement > 0.999
        assert row.rank_agreement > 0.9
        assert row.p50_us > 0


def test_the_error_of_a_row_is_that_of_its_difference_to_the_best(rows, widths):
    best = max(rows, key=lambda row: row.ndcg)
    assert best.error == 0
    for each in (row for row in rows if row.precision == best.precision == "float32" and row.candidates == 40):
        gains = [
            gains_of_first(score_lists(widths.by_share[row.width].model, UNSEEN, row.exit_depth), UNSEEN, 40)
            for row in (each, best)
        ]
        difference = gains[0] - gains[1]
        assert each.error == pytest.approx(difference.std() / np.sqrt(len(UNSEEN)), abs=2e-3)
    assert any(row.error > 0.005 for row in rows)


def test_the_deepest_exit_is_held_to_its_own_best():
    shallow = row(exit_depth=3, p50_us=40.0, ndcg=0.2018)
    deepest = [row(ndcg=0.2009), row(ndcg=0.2, p50_us=50.0)]  # only the first is within 0.5 % of the shallow one
    assert choose([shallow, *deepest], **BOUNDS) == {3: shallow, 8: deepest[1]}


def test_what_may_be_worse_by_luck_alone_is_good_enough():
    best, lucky, bad = row(), row(p50_us=50.0, ndcg=0.19, error=0.02), row(p50_us=10.0, ndcg=0.17, error=0.02)
    assert choose([best, lucky, bad], **BOUNDS) == {8: lucky}


def test_pruned_and_shorter_graphs_weigh_less(rows):
    size = {(row.exit_depth, row.width, row.precision): row.graph_bytes for row in rows}
    items = {row.width: row.item_bytes for row in rows}
    assert all(size[depth, 0.5, precision] < size[depth, 1.0, precision] for depth, _, precision in size)
    assert all(size[1, width, precision] < size[3, width, precision] for _, width, precision in size)
    assert items == {1.0: 64, 0.5: 32}


def test_a_target_beyond_the_ranked_candidates_earns_nothing():
    lists = planted_lists(4)
    lists = dataclasses.replace(lists, target=np.array([0, 19, 20, 39], np.int32))
    perfect = np.where(np.arange(40) == lists.target[:, None], 1.0, 0.0).astype(np.float32)
    assert gains_of_first(perfect, lists, 40).mean() == 1.0
    assert gains_of_first(perfect, lists, 20).mean() == 0.5
    assert gains_of_first(perfect, lists, 1).mean() == 0.25


def row(**changes) -> SweepRow:
    sound = {
        "exit_depth": 8, "precision": "int8", "width": 1.0, "candidates": 500, "ndcg": 0.2, "rank_agreement": 1.0,
        "p50_us": 100.0, "graph_bytes": 1_000, "item_bytes": 64,
    }  # fmt: skip
    return SweepRow(**(sound | changes))


BOUNDS = {"within": 0.005, "shallow_within": 0.03}


def test_the_fastest_within_the_bound_is_chosen():
    best, good, bad = row(), row(ndcg=0.1991, p50_us=50.0), row(ndcg=0.1989, p50_us=10.0)
    assert choose([best, good, bad], **BOUNDS) == {8: good}
    assert choose([best, bad], **BOUNDS) == {8: best}


def test_shallower_exits_may_lose_more_and_those_between_in_proportion():
    best = row()
    shallow = [row(exit_depth=3, ndcg=0.1941, p50_us=20.0), row(exit_depth=3, ndcg=0.1939, p50_us=5.0)]
    between = [row(exit_depth=5, ndcg=0.1966, p50_us=30.0), row(exit_depth=5, ndcg=0.1964, p50_us=8.0)]
    deepest = [row(ndcg=0.1989, p50_us=30.0)]
    assert choose([best, *shallow, *between, *deepest], **BOUNDS) == {3: shallow[0], 5: between[0], 8: best}


def test_an_exit_far_from_the_best_is_measured_by_its_own_best():
    shallow = [
        row(exit_depth=3, ndcg=0.1),
        row(exit_depth=3, ndcg=0.0996, p50_us=50.0),
        row(exit_depth=3, ndcg=0.099, p50_us=20.0),
    ]
    assert choose([row(), *shallow], **BOUNDS)[3] == shallow[1]


def test_a_shallower_exit_is_faster_than_a_deeper_one_wherever_it_can_be():
    deep = row(p50_us=50.0)
    good_but_slow, quick = row(exit_depth=3, p50_us=60.0), row(exit_depth=3, ndcg=0.15, p50_us=40.0)
    assert choose([deep, good_but_slow, quick], **BOUNDS) == {3: quick, 8: deep}
    assert choose([deep, good_but_slow], **BOUNDS) == {3: good_but_slow, 8: deep}


def test_equally_fast_ones_are_told_apart_by_their_bytes():
    fast, small, slow = row(p50_us=100.0), row(p50_us=101.9, graph_bytes=500), row(p50_us=103.0, graph_bytes=10)
    assert fastest([fast, small, slow]) == small


def test_only_the_largest_number_of_candidates_is_chosen_from():
    whole, half = row(), row(candidates=250, p50_us=50.0)
    assert choose([half, whole], **BOUNDS) == {8: whole}


def test_what_does_not_rank_like_its_model_is_not_chosen_however_good():
    sound, false = row(), row(precision="int4", ndcg=0.3, p50_us=10.0, rank_agreement=0.9)
    assert choose([sound, false], **BOUNDS, min_rank_agreement=0.98) == {8: sound}
    with pytest.raises(ParityError, match="exit 8"):
        choose([false], **BOUNDS, min_rank_agreement=0.98)


def test_the_front_holds_what_nothing_beats():
    rows = [
        row(p50_us=float(us), ndcg=ndcg)
        for us, ndcg in ((10, 0.1), (20, 0.1), (20, 0.2), (30, 0.15), (40, 0.3), (50, 0.3))
    ]
    assert pareto_front(rows, lambda row: row.p50_us) == [rows[0], rows[2], rows[4]]


def test_what_is_served_reads_one_table_and_agrees_with_the_rankers_it_was_made_of(widths, rows):
    by_key = {(row.exit_depth, row.width, row.precision): row for row in rows if row.candidates == 40}
    choices = {1: by_key[1, 0.5, "int8"], 2: by_key[2, 0.5, "float32"], 3: by_key[3, 1.0, "int8"]}
    served = served_ranker(widths, choices, UNSEEN)
    assert served.items.table.shape == (500, 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upnext.compress.timing.ROUNDS", 2)
        report = served_parity(served, widths, UNSEEN)
    check_parity(report, ParityBounds(max_ndcg_loss=0.02))
    kinds = [(each.exit_depth, each.precision) for each in report]
    exact = [(depth, "float32") for depth in (1, 2, 3)]
    assert kinds == [*exact, (1, "int8"), (2, "float32, int8 items"), (3, "int8")]


def test_no_wider_table_is_served_than_the_chosen_need(widths, rows):
    narrow = {row.exit_depth: row for row in rows if (row.width, row.precision, row.candidates) == (0.5, "int8", 40)}
    assert served_ranker(widths, narrow, UNSEEN).items.table.shape == (500, 32)


def test_the_picture_is_a_png_and_rows_survive_json(rows):
    picture = pareto_png(rows, list(choose(rows, **BOUNDS).values()), "tried")
    assert picture.startswith(b"\x89PNG\r\n")
    assert len(picture) > 20_000
    assert msgspec.json.decode(msgspec.json.encode(rows), type=list[SweepRow]) == rows
