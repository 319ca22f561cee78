"""A release that ranks with boosted trees: trained from the log, served, kept up to date and evaluated like any."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import TrainedHome, train_tiny
from upnext.cli.main import cli
from upnext.clock import Deadline, SystemClock
from upnext.domain.event import Item
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.live import open_live
from upnext.funnel.request import SlateRequest
from upnext.ingest.records import ItemChange
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import Settings


@pytest.fixture(scope="module")
def home(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained again as trees: the encoders are those of the checkpoints."""
    home = trained_home.copy(tmp_path_factory.mktemp("trees") / "home")
    train_tiny(home, kind="trees")
    return home


@pytest.fixture
def release(home) -> Release:
    return Releases(home).open_active()


def test_the_release_has_trees_in_place_of_graphs_and_says_what_each_exit_is_worth(release):
    assert release.json("ranker.kind") == "trees"
    names = release.json("ranker.exits")["names"]
    reports = release.manifest.reports
    assert [each["exit"] for each in reports["trees"]] == names
    assert all(each["ndcg"] > 0.1 for each in reports["trees"])
    assert [each["exit"] for each in reports["calibration"]] == names
    assert not [name for name in release.manifest.parts if name.startswith("ranker.exit") and name != "ranker.exits"]
    assert not any(":" in name for name in reports["gains"])


def test_requests_are_ranked_by_trees(release):
    live = open_live(release, Settings(), SystemClock())
    answer = Answer(live.funnel.popular())
    live.funnel.run(SlateRequest(None, k=10), answer, lambda _: UserView(), Deadline.never(SystemClock()))
    assert answer.slate is not None
    assert (answer.slate.tier, answer.degraded, answer.exit) == ("full", [], release.json("ranker.exits")["default"])


def test_an_item_posted_later_gets_a_row_that_trees_can_read(release):
    live = open_live(release, Settings(), SystemClock())
    item = Item(item_id="fresh", title="comet", price=7.0)
    live.fresh.apply([ItemChange(live.fresh.revision + 1, "fresh", item)])
    while live.fresh.take_in():
        pass
    row = live.funnel.catalog.row_of("fresh")
    spec, columns = live.funnel.assembler.spec, release.json("ranker.item_columns")
    table = live.funnel.ranker._items
    assert row >= live.funnel.catalog.n_released
    assert table[row, columns.index(spec.item.index("price"))] == pytest.approx(np.log1p(7.0))
    assert not open_live(release, Settings(), SystemClock()).funnel.ranker._items[row].any()


def test_trees_rank_better_than_retrieval_on_what_was_held_out(home, tmp_path):
    file = tmp_path / "report.json"
    CliRunner().invoke(cli, ["evaluate", "--home", str(home), "--json", str(file)], catch_exceptions=False)
    systems = json.loads(file.read_text())["systems"]
    assert systems["ranked"]["ndcg@10"] > systems["popular"]["ndcg@10"]
