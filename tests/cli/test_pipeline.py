"""From a log to an evaluated release: what training and evaluation promise as a whole."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.conftest import TINY_WORLD, TrainedHome, train_tiny
from upnext.cli.main import cli
from upnext.errors import TrainingError
from upnext.release.releases import Releases

SYSTEMS = {"popular", "popular_recent", "covisit", "item_knn", "ials", "session", "retrieval", "ranked", "funnel"}


def evaluated(home: Path, folder: Path, *options: str) -> dict[str, object]:
    """The JSON that `upnext evaluate` writes."""
    file = folder / "report.json"
    CliRunner().invoke(cli, ["evaluate", "--home", str(home), "--json", str(file), *options], catch_exceptions=False)
    return dict(json.loads(file.read_text()))


def test_a_release_is_evaluated_beside_its_baselines_in_the_promised_shape(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    report = evaluated(trained_home.path, tmp_path, "--png", str(tmp_path / "report.png"))
    assert set(report) == {"dataset", "split", "seed", "release", "systems", "intervals", "segments"}
    assert (report["dataset"], report["release"]) == ("tiny", trained_home.release_id)
    systems = msgspec.convert(report["systems"], dict[str, dict[str, float]])
    assert set(systems) == SYSTEMS
    assert {"ndcg@10", "hr@10", "mrr@10", "recall@500", "coverage"} <= set(systems["funnel"])
    # The planted world: users go on along series, which neither popularity nor chance can know.
    assert systems["funnel"]["ndcg@10"] > 3 * systems["popular"]["ndcg@10"]
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_two_trainings_with_one_seed_give_the_same_evaluation(trained_home: TrainedHome, tmp_path: Path) -> None:
    again = tmp_path / "again"
    train_tiny(again, seed=0)
    first, second = evaluated(trained_home.path, tmp_path), evaluated(again, tmp_path)
    assert first["systems"] == second["systems"]


def test_a_release_that_may_know_the_answers_is_not_evaluated(trained_home: TrainedHome, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"may have seen the answers; run `upnext train --split time --hold-out`"):
        evaluated(trained_home.path, tmp_path, "--split", "time")


def test_the_stream_split_asks_click_by_click(tmp_path: Path) -> None:
    home, run = tmp_path / "home", CliRunner()
    quick = ["session.epochs=1", "two_tower.epochs=1", "ranker.epochs=1", "lists.most=200"]
    changes = [part for change in quick for part in ("--set", change)]
    for command in (
        ["import", str(TINY_WORLD), "--home", str(home)],
        ["train", "--home", str(home), "--split", "time", "--hold-out", *changes],
    ):
        assert run.invoke(cli, command, catch_exceptions=False).exit_code == 0
    report = evaluated(home, tmp_path, "--split", "stream")
    systems = msgspec.convert(report["systems"], dict[str, dict[str, float]])
    assert set(systems) == {"popular_60min", "covisit", "vmis_knn", "retrieval", "ranked", "funnel"}
    assert len({figures["n_cases"] for figures in systems.values()}) == 1
    assert systems["funnel"]["recall@20"] > systems["popular_60min"]["recall@20"]


def test_every_exported_graph_is_in_the_releases_parity_report(trained_home: TrainedHome) -> None:
    parity = Releases(trained_home.path).manifest(trained_home.release_id).reports["parity"]
    assert {(row["exit_depth"], row["precision"]) for row in parity} == {
        (depth, precision) for depth in (1, 2) for precision in ("float32", "int8")
    }
    assert all(row["rank_agreement"] > 0.98 and row["ndcg_loss"] < 0.02 for row in parity)
