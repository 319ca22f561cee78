"""All systems answer the same questions over the full catalogue, and nobody sees the answers."""

import io
import math

import msgspec
import numpy as np
import pytest
from rich.console import Console

from upnext.errors import TrainingError
from upnext.training.evaluate import evaluate
from upnext.training.measured import SegmentFigures
from upnext.training.report import EvaluationReport, as_table, read_json, segments_table, write_json, write_png
from upnext.training.sequences import Sequences
from upnext.training.splits import Cases
from upnext.training.top_rows import drop_rows, top_rows

FIGURES = ["ndcg@10", "hr@10", "mrr@10", "recall@500", "coverage", "n_cases"]


class Fixed:
    """Answers one row of items to everyone, and remembers what it was shown."""

    def __init__(self, row: list[int], name: str = "fixed") -> None:
        self.name, self.row, self.shown = name, row, []

    def rank(self, cases: Cases, k: int) -> np.ndarray:
        self.shown.append(cases)
        row = np.full(k, -1, np.int32)
        row[: len(self.row)] = self.row[:k]
        return np.tile(row, (len(cases), 1))


def cases_of(histories: list[list[int]], targets: list[int], drop_seen: bool = True) -> Cases:
    flat = Sequences(
        np.cumsum([0, *map(len, histories)]).astype(np.int64), np.array([i for h in histories for i in h], np.int32)
    )
    n = len(targets)
    return Cases(np.arange(n, dtype=np.int32), flat, np.zeros(n, np.int64), np.array(targets, np.int32), drop_seen)


def test_figures_of_a_known_ranking_are_exact() -> None:
    cases = cases_of([[], [], []], [4, 5, 9])
    figures = evaluate([Fixed([4, 5, 6])], cases, n_items=30)["fixed"]
    assert list(figures) == FIGURES
    assert figures["hr@10"] == pytest.approx(2 / 3)
    assert figures["ndcg@10"] == pytest.approx((1 + 1 / math.log2(3)) / 3)
    assert figures["mrr@10"] == pytest.approx((1 + 1 / 2) / 3)
    assert figures["recall@500"] == pytest.approx(2 / 3)
    assert figures["coverage"] == pytest.approx(3 / 30)
    assert figures["n_cases"] == 3


def test_seen_items_are_removed_before_places_are_counted() -> None:
    figures = evaluate([Fixed([0, 1, 2])], cases_of([[0, 1]], [2]), n_items=5)["fixed"]
    assert figures["ndcg@10"] == 1.0


def test_seen_items_stay_where_repetition_is_wanted() -> None:
    figures = evaluate([Fixed([0, 1, 2])], cases_of([[0, 1]], [1], drop_seen=False), n_items=5)["fixed"]
    assert figures["mrr@10"] == 0.5


def test_cases_whose_target_was_seen_are_not_asked_when_seen_items_are_dropped() -> None:
    figures = evaluate([Fixed([3])], cases_of([[0, 1], [2]], [1, 3]), n_items=5)["fixed"]
    assert (figures["n_cases"], figures["hr@10"]) == (1, 1.0)


def test_no_system_sees_a_target() -> None:
    system = Fixed([1])
    evaluate([system], cases_of([[0]] * 5, [1, 2, 3, 1, 2]), n_items=5, batch_cases=2)
    assert [len(cases) for cases in system.shown] == [2, 2, 1]
    assert all((cases.targets == -1).all() for cases in system.shown)


def test_figures_do_not_depend_on_the_batches() -> None:
    cases = cases_of([[i % 7] for i in range(23)], [(i % 6) + 8 for i in range(23)])
    systems = [Fixed([8, 9, 3, 11])]
    assert evaluate(systems, cases, 20, batch_cases=5) == evaluate(systems, cases, 20, batch_cases=1000)


def test_progress_counts_cases_over_all_systems() -> None:
    calls = []
    systems = [Fixed([1], "one"), Fixed([2], "two")]
    cases = cases_of([[0]] * 3, [1, 2, 3])
    evaluate(systems, cases, 5, batch_cases=2, progress=lambda *call: calls.append(call))
    assert calls == [(2, 6, "one"), (3, 6, "one"), (5, 6, "two"), (6, 6, "two")]


def test_answers_of_the_wrong_shape_or_outside_the_catalogue_are_refused() -> None:
    class Short(Fixed):
        def rank(self, cases: Cases, k: int) -> np.ndarray:
            return super().rank(cases, k)[:, :-1]

    with pytest.raises(TrainingError, match="system fixed answered with shape"):
        evaluate([Short([1])], cases_of([[]], [1]), n_items=5)
    with pytest.raises(TrainingError, match="outside the 5 items"):
        evaluate([Fixed([5])], cases_of([[]], [1]), n_items=5)


def test_no_case_at_all_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(TrainingError, match="no case"):
        evaluate([Fixed([1])], cases_of([[1]], [1]), n_items=5)


def test_the_best_rows_are_exact_and_ties_go_to_the_lower_row_even_at_the_edge() -> None:
    scores = np.array([[1.0, 3.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert top_rows(scores, 3).tolist() == [[1, 2, 3], [0, 1, 2]]


def test_excluded_and_missing_scores_are_never_taken_and_short_answers_are_padded() -> None:
    scores = np.array([[-np.inf, 1.0, np.nan, 2.0], [-np.inf] * 4])
    assert top_rows(scores, 6).tolist() == [[3, 1, -1, -1, -1, -1], [-1] * 6]


def test_the_best_rows_equal_a_full_stable_sort() -> None:
    scores = np.random.default_rng(5).integers(0, 9, (40, 60)).astype(np.float32)
    np.testing.assert_array_equal(top_rows(scores, 17), np.argsort(-scores, axis=1, kind="stable")[:, :17])


def test_dropped_rows_leave_no_hole() -> None:
    histories = Sequences(np.array([0, 2, 2]), np.array([5, 1], dtype=np.int32))
    rows = np.array([[5, 2, 1, -1], [5, 2, 1, 0]], dtype=np.int32)
    assert drop_rows(rows, histories, n_items=6).tolist() == [[2, -1, -1, -1], [5, 2, 1, 0]]


def report() -> EvaluationReport:
    systems = {"popular": dict(zip(FIGURES, (0.1, 0.2, 0.3, 0.4, 0.5, 1234), strict=True)), "mine": {"ndcg@10": 0.9}}
    return EvaluationReport(dataset="tiny", split="leave_one_out", seed=3, release=None, systems=systems)


def test_a_report_survives_its_file(tmp_path) -> None:
    write_json(report(), tmp_path / "evaluation.json")
    assert read_json(tmp_path / "evaluation.json") == report()
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_the_table_shows_every_figure_and_a_dash_for_a_missing_one() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(as_table(report()))
    text = console.export_text()
    assert all(word in text for word in ("tiny", "popular", "mine", "recall@500", "0.9000", "1,234", "–"))


def test_intervals_and_segments_are_shown_beside_their_figures() -> None:
    segment = SegmentFigures(
        n_cases=77, n_users=70, systems={"popular": {"ndcg@10": 0.6}, "mine": {"ndcg@10": 0.125}},
        intervals={"mine": {"ndcg@10": (0.1, 0.15)}},
    )  # fmt: skip
    whole = msgspec.structs.replace(
        report(), intervals={"mine": {"ndcg@10": (0.88, 0.92)}}, segments={"users cold": segment}
    )
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(as_table(whole))
    console.print(segments_table(whole))
    text = console.export_text()
    assert all(word in text for word in ("0.9000 ±.020", "users cold", "77 cases", "0.6000", "0.1250 ±.025"))


def test_the_picture_is_a_png(tmp_path) -> None:
    write_png(report(), tmp_path / "evaluation.png")
    assert (tmp_path / "evaluation.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
