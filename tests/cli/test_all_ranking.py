"""A release answers a test file of `user item item …` lines by the all-ranking protocol."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import NoSteps, TrainedHome
from upnext.cli.evaluate_command import evaluate_command
from upnext.cli.home import opened_home
from upnext.cli.pipeline.all_ranking import evaluate_test_file, neighbour_systems
from upnext.cli.pipeline.evaluation import Subject, open_subject
from upnext.cli.pipeline.plan import ListSettings, TrainSettings
from upnext.cli.pipeline.run import TrainingRun
from upnext.clock import ManualClock
from upnext.errors import DataError
from upnext.ingest.importers.formats import open_source
from upnext.ingest.importers.run import import_into
from upnext.models.linear import LinearConfig
from upnext.models.ranker_config import RankerConfig
from upnext.models.session_encoder import SessionConfig
from upnext.models.two_tower import TwoTowerConfig
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.training.splits import interactions


@pytest.fixture(scope="module")
def opened(trained_home: TrainedHome) -> tuple[Subject, Release]:
    release = Releases(trained_home.path).open_active()
    with opened_home(trained_home.path) as home:
        return open_subject(release, home.records, home.event_log, Settings()), release


def unseen_items(subject: Subject, user: int, n: int) -> list[str]:
    columns = subject.world.columns
    seen = set(columns.item[interactions(columns) & (columns.user == user)].tolist())
    return [item for row, item in enumerate(columns.items) if row not in seen][:n]


def user_id(subject: Subject, user: int) -> str:
    known = subject.world.users[user]
    assert known is not None
    return known.user_id


def test_every_part_of_the_release_is_asked_and_what_nobody_can_find_counts(opened) -> None:
    subject, release = opened
    wanted = {user_id(subject, user): unseen_items(subject, user, 4) for user in range(12)}
    told = evaluate_test_file(subject, release, wanted, Settings(), 0, lambda *_: None).systems
    assert list(told) == [
        "popular", "item_knn", "ials", "neighbours", "two-tower", "session", "retrieval", "ranked", "funnel",
    ]  # fmt: skip
    assert {figures["n_cases"] for figures in told.values()} == {12}
    assert told["neighbours"]["recall@20"] > 0
    halved = {user: [*items, "no", "such", "item", "here"] for user, items in wanted.items()}
    again = evaluate_test_file(subject, release, halved, Settings(), 0, lambda *_: None).systems
    for name, figures in told.items():
        assert again[name]["recall@20"] == pytest.approx(figures["recall@20"] / 2)


def test_a_test_file_of_other_users_is_refused(opened) -> None:
    subject, release = opened
    with pytest.raises(DataError, match="import the training part"):
        evaluate_test_file(subject, release, {"nobody": ["x"]}, Settings(), 0, lambda *_: None)


def test_a_release_holds_neighbour_lists_with_room_for_items_to_come(opened) -> None:
    subject, release = opened
    rows, weights = release.array("neighbours.rows"), release.array("neighbours.weights")
    n_items = subject.world.catalog.n_items
    assert rows.shape == weights.shape == (n_items + Settings().items.fresh_rows, LinearConfig().width)
    assert (rows.dtype, weights.dtype) == (np.int32, np.float32)
    assert (rows[n_items:] == -1).all()
    assert (rows[:n_items] >= 0).any()
    assert len(neighbour_systems(release, n_items)) == 1


def test_the_command_prints_both_figures(opened, trained_home: TrainedHome, tmp_path: Path) -> None:
    subject, _ = opened
    lines = [" ".join([user_id(subject, user), *unseen_items(subject, user, 3)]) for user in range(12)]
    (tmp_path / "test.txt").write_text("\n".join(lines) + "\n")
    arguments = ["--home", trained_home.path, "--test", tmp_path / "test.txt", "--json", tmp_path / "report.json"]
    result = CliRunner().invoke(evaluate_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["split"] == "all-ranking"
    assert set(report["systems"]["neighbours"]) == {"recall@20", "ndcg@20", "coverage", "n_cases"}


def test_lines_without_times_train_into_a_release_that_finds_what_was_held_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    held_out = {}
    with (tmp_path / "train.txt").open("w") as train:
        for user in range(60):  # two tastes of 20 items each; of its own a user chooses all but five, of the other two
            own = rng.permutation(20) * 2 + user % 2
            other = rng.permutation(20)[:2] * 2 + 1 - user % 2
            held_out[f"{user}"] = [f"{item}" for item in own[:5]]
            print(user, *own[5:], *other, file=train)
    config = TrainSettings(
        session=SessionConfig(epochs=1, embedding_size=8, batch_events=512),
        two_tower=TwoTowerConfig(epochs=1, embedding_size=8, hidden_size=8, batch_events=512),
        linear=LinearConfig(ease_l2=5.0, refit_l2=5.0),
        ranker=RankerConfig(epochs=1, first_width=16, hidden=(16, 8), exits=(1, 2), batch_lists=16),
        lists=ListSettings(most=60, parity=10),
    )
    with opened_home(tmp_path / "home") as home:
        source = open_source(tmp_path / "train.txt", now_ms=1_760_000_000_000)
        import_into(source, home.event_log, home.records, clock=ManualClock(1_760_000_000_000))
        run = TrainingRun(tmp_path / "home", home.store, home.records, home.event_log, Settings(), config, 0, NoSteps())
        release = run.release("lines", "leave-one-out", hold_out=False)
        subject = open_subject(release, home.records, home.event_log, Settings())
    told = evaluate_test_file(subject, release, held_out, Settings(), 0, lambda *_: None).systems
    assert told["neighbours"]["recall@20"] > 0.9
    assert told["funnel"]["recall@20"] > 0.5
