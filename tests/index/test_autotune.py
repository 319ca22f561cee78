"""The index chosen is the fastest that meets the recall asked, measured on the vectors at hand."""

import numpy as np
import pytest

from tests.index.suite import clustered, exact
from upnext.clock import ManualClock
from upnext.errors import DataError
from upnext.index.autotune import IndexTrial, autotune, choose, exact_least, extend, kinds_for, near_items


def trial(kind: str, recall: float, p50_us: float) -> IndexTrial:
    return IndexTrial(
        kind=kind, parameters={}, recall=recall, p50_us=p50_us, p99_us=2 * p50_us, build_ms=1.0, size_bytes=1
    )


def test_the_fastest_trial_that_meets_the_target_is_chosen() -> None:
    trials = [trial("flat", 1.0, 900), trial("ivf", 0.90, 100), trial("ivf", 0.96, 200), trial("ivf", 0.99, 400)]
    assert choose(trials, 0.95) == 2
    assert choose(trials, 0.85) == 1
    assert choose(trials, 0.999) == 0


def test_of_trials_about_as_fast_the_one_of_better_recall_is_chosen() -> None:
    trials = [trial("ivf", 0.96, 200), trial("ivf", 0.98, 219), trial("ivf", 0.99, 221), trial("hnsw", 0.98, 210)]
    assert choose(trials, 0.95) == 3


def test_when_no_trial_meets_the_target_the_best_recall_is_chosen() -> None:
    assert choose([trial("ivf", 0.7, 10), trial("flat", 0.9, 90), trial("hnsw", 0.9, 80)], 0.95) == 2


def test_graphs_are_tried_only_where_they_can_win_and_are_built_in_bounded_time() -> None:
    assert kinds_for(5_000) == ("flat",)
    assert kinds_for(15_000) == ("flat", "ivf")
    assert kinds_for(50_000) == ("flat", "ivf", "hnsw")
    assert kinds_for(150_000) == ("flat", "ivf")
    assert kinds_for(1_000_000) == ("flat", "ivf", "pq")


def test_the_chosen_index_meets_the_target_and_every_trial_is_reported() -> None:
    items, queries = clustered(4000, 33, bias=True)
    labels: list[str] = []
    index, trials = autotune(
        items,
        k=100,
        recall_target=0.97,
        queries=queries,
        kinds=("flat", "ivf", "hnsw"),
        progress=lambda done, total, label: labels.append(f"{done}/{total} {label}"),
    )
    _, rows = index.search(queries, 100)
    found = [len(np.intersect1d(exact(items, query, 100), each)) for query, each in zip(queries, rows, strict=True)]
    assert np.mean(found) >= 97
    (chosen,) = [each for each in trials if each.chosen]
    assert (chosen.kind, chosen.parameters) == (index.kind, dict(index.parameters))
    assert chosen.recall == pytest.approx(np.mean(found) / 100, abs=1e-4)
    assert {each.kind for each in trials} == {"flat", "ivf", "hnsw"}
    nprobes = [each.parameters["nprobe"] for each in trials if each.kind == "ivf"]
    assert nprobes == sorted(set(nprobes))
    assert all(0 < each.p50_us <= each.p99_us and each.build_ms > 0 and each.size_bytes > 4000 * 33 for each in trials)
    assert labels[0] == "0/5 building flat"
    assert labels[-1] == f"5/5 {index.kind} chosen"


def test_the_flat_index_wins_when_only_exactness_is_good_enough() -> None:
    items, queries = clustered(2000, 20, bias=True)
    index, trials = autotune(items, k=50, recall_target=1.1, queries=queries, kinds=("ivf", "flat"))
    assert index.kind == "flat"
    assert [each.kind for each in trials if each.chosen] == ["flat"]


def test_rows_that_tie_with_the_last_place_count_as_found() -> None:
    items = np.repeat(np.eye(4, dtype=np.float32), 50, axis=0)
    _, trials = autotune(items, k=10, kinds=("flat",), clock=ManualClock())
    assert trials[0].recall == 1.0
    assert trials[0].p50_us == 0.0  # nobody but the given clock is asked


def test_a_catalogue_smaller_than_k_and_one_of_zero_vectors_are_indexed() -> None:
    items, _ = clustered(80, 8, bias=False)
    assert autotune(items, k=500)[0].search(items[:1], 80)[1].min() >= 0
    assert autotune(np.zeros((5, 8), np.float32), k=3)[0].n_items == 5


def test_the_exact_threshold_is_the_kth_best_score() -> None:
    items, queries = clustered(1000, 12, bias=True)
    expected = [np.sort(items @ query)[-7] for query in queries]
    np.testing.assert_allclose(exact_least(items, queries, 7), expected, rtol=1e-6)


def test_queries_made_up_are_near_items_that_are_not_all_zero_and_the_same_for_a_seed() -> None:
    items, _ = clustered(1000, 12, bias=False)
    items[::2] = 0.0
    made = near_items(items, seed=1)
    assert made.shape == (200, 12)
    nearest = np.argmax(made @ items.T, axis=1)
    assert (nearest % 2 == 1).all()
    distances = np.linalg.norm(made - items[nearest], axis=1)
    np.testing.assert_allclose(np.median(distances), 0.1, rtol=0.05)
    np.testing.assert_array_equal(made, near_items(items, seed=1))
    assert not np.array_equal(made, near_items(items, seed=2))


def test_an_unknown_kind_is_refused_with_those_that_exist() -> None:
    with pytest.raises(DataError, match="'annoy'; choose from flat, ivf, hnsw, pq"):
        autotune(np.eye(4, dtype=np.float32), k=1, kinds=("annoy",))


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "pq"])
def test_an_index_grows_by_new_rows_and_its_recall_is_measured_again(kind: str) -> None:
    items, queries = clustered(4000, 33, bias=True)
    index, _ = autotune(items[:3500], k=50, recall_target=0.9, queries=queries, kinds=(kind,))
    grown, trials = extend(index, items, k=50, recall_target=0.9, queries=queries)
    (trial,) = trials
    assert (grown.n_items, grown.kind, dict(grown.parameters)) == (4000, kind, dict(index.parameters))
    assert (trial.kind, trial.build_ms, trial.chosen) == (kind, 0.0, True)
    _, rows = grown.search(queries, 50)
    found = [len(np.intersect1d(exact(items, query, 50), each)) for query, each in zip(queries, rows, strict=True)]
    assert trial.recall == pytest.approx(np.mean(found) / 50, abs=1e-4)
    assert trial.recall >= 0.9


def test_an_index_that_grew_out_of_what_it_was_built_for_is_built_anew() -> None:
    old, _ = clustered(2000, 16, bias=False, seed=1)
    new = np.tile(np.eye(16, dtype=np.float32)[:1] * 100, (2000, 1)) + 0.5 * clustered(2000, 16, bias=False)[0]
    items = np.concatenate([old, new.astype(np.float32)])
    queries = new[:100].astype(np.float32)
    index, _ = autotune(old, k=50, recall_target=0.9, kinds=("ivf",))
    grown, trials = extend(index, items, k=50, recall_target=0.999, queries=queries)
    assert {each.kind for each in trials} == {"flat"}  # all kinds for a catalogue of this size, measured anew
    assert grown.n_items == 4000


def test_rows_that_changed_are_built_anew_in_the_kind_chosen_before() -> None:
    items, queries = clustered(3000, 16, bias=False)
    index, _ = autotune(items, k=20, kinds=("ivf",))
    items[7] = 9.0 * queries[0]
    built, trials = extend(index, items, k=20, queries=queries, changed=True)
    assert {each.kind for each in trials} == {"ivf"}
    assert built.search(queries[:1], 1)[1].tolist() == [[7]]


def test_a_product_quantised_index_says_how_many_bytes_a_row_takes() -> None:
    items, queries = clustered(4000, 64, bias=False)
    _, trials = autotune(items, k=50, queries=queries, kinds=("ivf", "pq"))
    pq = next(each for each in trials if each.kind == "pq")
    assert (pq.parameters["scanned_bytes"], pq.parameters["refined_bytes"]) == (16, 64)
    assert pq.size_bytes > 4000 * (16 + 64)
    assert max(each.recall for each in trials if each.kind == "pq") >= 0.95
