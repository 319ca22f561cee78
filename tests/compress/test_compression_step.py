"""The step between a trained ranker and a release: what it tries, what it takes, and what it refuses to try."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, small_config
from upnext.cli.pipeline.compression import compress_ranker, train_and_compress
from upnext.cli.pipeline.plan import ListSettings, TrainSettings
from upnext.cli.release_report import sweep_table
from upnext.compress.parity import ParityBounds
from upnext.compress.sweep import CompressSettings
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists
from upnext.training.ranker_loop import train_ranker

LEARNING, KEPT_BACK = planted_lists(200), planted_lists(60, seed=9)
SETTINGS = TrainSettings(
    ranker=small_config(first_width=64, hidden=(48, 32, 32), prior_column=0),
    parity=ParityBounds(max_ndcg_loss=0.05),
    compress=CompressSettings(
        widths=(0.5,), precisions=("int8",), candidates=(40, 20), fine_tune_epochs=1, fewest_lists=60
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upnext.compress.timing.ROUNDS", 2)


@pytest.fixture(scope="module")
def model() -> RankerDnn:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = train_ranker(LEARNING, SETTINGS.ranker, seed=1)
    torch.set_num_threads(before)
    return model


def compressed(model: RankerDnn, settings: TrainSettings, kept_back: RankerLists = KEPT_BACK):
    return compress_ranker(model, LEARNING, kept_back, settings, 0, lambda done, total, remark: None)


def with_compress(**changes) -> TrainSettings:
    return msgspec.structs.replace(SETTINGS, compress=msgspec.structs.replace(SETTINGS.compress, **changes))


def test_every_exit_is_served_as_chosen_and_scores_without_a_release(model):
    found = compressed(model, SETTINGS)
    assert len(found.rows) == 3 * 2 * 2
    assert set(found.served.graphs) == {1, 2, 3}
    ranker = found.opened(chunk=1_000)
    assert ranker.exits == ("exit1", "exit2", "exit3")
    rows, cross = KEPT_BACK.rows[0], KEPT_BACK.cross[0]
    for name in ranker.exits:
        scores = ranker.score(rows, KEPT_BACK.user[0], cross, name)
        assert np.isfinite(scores).all()
        assert np.argmax(scores) == KEPT_BACK.target[0]


def test_nothing_is_tried_when_it_is_switched_off_or_the_lists_are_too_few(model):
    for found in (
        compressed(model, with_compress(sweep=False)),
        compressed(model, SETTINGS, KEPT_BACK.take(np.arange(59))),
    ):
        assert [(row.width, row.precision, row.exit_depth) for row in found.rows] == [
            (1.0, "int8", d) for d in (1, 2, 3)
        ]


def test_the_default_exit_is_the_shallowest_near_the_best(model):
    found = compressed(model, SETTINGS)
    best = max(row.ndcg for row in found.rows)
    near = [depth for depth, row in sorted(found.served.choices.items()) if row.ndcg >= 0.995 * best]
    assert found.default_exit == f"exit{near[0]}"
    generous = compressed(model, with_compress(within=0.9, shallow_within=0.9))
    assert generous.default_exit == "exit1"


def test_lists_are_kept_for_experiments_when_asked_for(tmp_path):
    settings = with_compress(keep_lists=True, sweep=False)
    train_and_compress(LEARNING, settings, tmp_path / "new" / "ranker.pt", 0, lambda done, total, remark: None)
    with np.load(tmp_path / "new" / "lists.npz") as parts:
        assert np.array_equal(RankerLists(**parts).cross, LEARNING.cross)


@pytest.mark.parametrize(("few", "asked"), [(3_000, True), (0, False)])
def test_where_nothing_is_gained_by_learning_candidates_stay_in_the_order_of_the_start(tmp_path, few, asked):
    first = LEARNING.cross[:, :, 0].astype(np.float32)
    known = replace(LEARNING, target=np.where(LEARNING.rows >= 0, first, -np.inf).argmax(axis=1).astype(np.int32))
    settings = msgspec.structs.replace(with_compress(sweep=False), lists=ListSettings(few=few))
    found = train_and_compress(known, settings, tmp_path / "ranker.pt", 0, lambda done, total, remark: None)
    assert (found.worth is not None) == asked
    assert found.models[1.0].config.epochs == (0 if asked else SETTINGS.ranker.epochs)
    if asked:
        assert not found.worth.real
        ranker, shown = found.opened(chunk=1_000), KEPT_BACK.rows[0] >= 0
        for name in ranker.exits:
            scores = ranker.score(
                KEPT_BACK.rows[0][shown], KEPT_BACK.user[0], KEPT_BACK.cross[0][shown].astype(np.float32), name
            )
            assert np.argmax(scores) == np.argmax(KEPT_BACK.cross[0, shown, 0])


def test_the_table_marks_what_is_served(model):
    found = compressed(model, SETTINGS)
    rows = [{**msgspec.to_builtins(row), "chosen": row in found.served.choices.values()} for row in found.rows]
    table = sweep_table(rows)
    assert table.row_count == len(found.rows)
    assert list(table.columns[0].cells).count("●") == 3
