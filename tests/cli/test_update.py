"""`upnext train --update`: what a release knew stays, what is new is learnt, and the release says how it was made."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import NoSteps
from upnext.cli.home import opened_home
from upnext.cli.main import cli
from upnext.cli.pipeline.evaluation import open_subject
from upnext.cli.pipeline.plan import ListSettings, MergeSettings, TrainSettings, UpdateSettings
from upnext.cli.pipeline.run import TrainingRun
from upnext.cli.pipeline.update import UpdateRun
from upnext.cli.pipeline.update_encoders import _some
from upnext.clock import Deadline, SystemClock
from upnext.compress.kept import PART, read_kept
from upnext.domain.event import Event
from upnext.errors import TrainingError
from upnext.features.item_vectors import UNLEARNT_PART
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_lists import RankerLists
from upnext.models.session_encoder import SessionConfig
from upnext.models.two_tower import TwoTowerConfig
from upnext.release.graft import copy_parts
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.state.user_state import vectors_key
from upnext.training.ranker_update import update_ranker
from upnext.training.selection import FeatureSettings
from upnext.training.sequences import Sequences

NOW_MS, MINUTE_MS = 1_760_000_000_000, 60_000
TRAIN = TrainSettings(
    session=SessionConfig(kind="lru", n_blocks=1, epochs=25, embedding_size=16, learning_rate=2e-2, batch_events=2_048),
    two_tower=TwoTowerConfig(epochs=2, embedding_size=16, hidden_size=32, batch_events=1_024),
    ranker=RankerConfig(epochs=2, first_width=32, hidden=(32, 32, 16), exits=(2, 3), batch_lists=16),
    lists=ListSettings(most=300, parity=40),
    features=FeatureSettings(select=False),
    merge=MergeSettings(cases=0),
    update=UpdateSettings(fewest_lists=150, ranker_epochs=2, item_epochs=20),
)
RING, USERS, AWAY = 60, 50, 5  # the users from USERS - AWAY on do not come back
NEW = "new"  # between the items 7 and 8 of the ring, once it is there
NEVER = Deadline.never(SystemClock())


@dataclass(frozen=True)
class Updated:
    home: Path
    base: Release
    update: Release
    vectors_before: list[bytes | None]
    vectors_after: list[bytes | None]


def walk(user: int, items: list[str], at_ms: int, day: int) -> list[Event]:
    return [
        Event(
            event_id=f"{day}:{user}:{number}", action="click", timestamp_ms=at_ms + number * MINUTE_MS + user,
            user_id=str(user), session_id=f"{day}:{user}", item_id=item,
        )
        for number, item in enumerate(items)
    ]  # fmt: skip


def first_days() -> list[Event]:
    """Everybody goes along a ring of items, each from another place on."""
    walks = [walk(user, [str((7 * user + step) % RING) for step in range(25)], NOW_MS, 0) for user in range(USERS)]
    return sorted((event for each in walks for event in each), key=lambda event: event.timestamp_ms)


def next_day() -> list[Event]:
    """Most come back and go on around 7, behind which there is a new item; and somebody new."""
    path = ["3", "4", "5", "6", "7", NEW, "8", "9", "10"]
    who = [*range(USERS - AWAY), USERS]
    walks = [walk(user, path[user % 4 :], NOW_MS + 2_000 * MINUTE_MS, 1) for user in who]
    return sorted((event for each in walks for event in each), key=lambda event: event.timestamp_ms)


def stored_vectors(home: Path, encoders: str) -> list[bytes | None]:
    with opened_home(home) as opened:
        return opened.store.get_many([vectors_key(encoders, f"u:{user}") for user in range(USERS + 1)], NEVER)


def update(
    home: Path, base: Release, train: TrainSettings = TRAIN, *, hold_out: bool = False, cut_ms: int | None = None
) -> Release:
    with opened_home(home) as opened:
        run = UpdateRun(home, opened.store, opened.records, opened.event_log, Settings(), train, 0, NoSteps())
        return run.release(base, "", "time", hold_out=hold_out, cut_ms=cut_ms)


@pytest.fixture(scope="module")
def updated(tmp_path_factory: pytest.TempPathFactory) -> Updated:
    home = tmp_path_factory.mktemp("update") / "home"
    with opened_home(home) as opened:
        opened.event_log.append(first_days())
        run = TrainingRun(home, opened.store, opened.records, opened.event_log, Settings(), TRAIN, 0, NoSteps())
        base = run.release("ring", "time", hold_out=False)
        opened.event_log.append(next_day())
    before = stored_vectors(home, base.json("facts")["encoders"])
    made = update(home, base)
    return Updated(home, base, made, before, stored_vectors(home, base.json("facts")["encoders"]))


def test_a_new_item_is_foretold_where_it_was_chosen(updated: Updated) -> None:
    with opened_home(updated.home) as opened:
        subject = open_subject(updated.update, opened.records, opened.event_log, Settings())
    catalog, vectors = subject.live.funnel.catalog, subject.live.funnel.vectors
    row, table = catalog.row_of(NEW), vectors.session
    assert table is not None
    places = {}
    for end in (7, 30):
        items = [catalog.row_of(str(end - back)) for back in (3, 2, 1, 0)]
        histories = Sequences.from_events(np.zeros(4, np.int32), np.array(items), 1)
        query, _ = subject.session.encode(histories)
        scores = query[0] @ table[:, :-1].T + table[:, -1]
        places[end] = int((scores > scores[row]).sum())
    assert places[7] < 3
    assert places[30] > 5


def test_everything_the_release_knew_stays_as_it_was(updated: Updated) -> None:
    base, made = updated.base, updated.update
    n = len(base.array("catalog.sorted_keys"))
    assert len(made.array("catalog.sorted_keys")) == n + 1
    for name in ("catalog.keys", "vectors.session", "vectors.user"):
        np.testing.assert_array_equal(made.array(name)[:n], base.array(name)[:n])
    assert made.path("session_step").read_bytes() == base.path("session_step").read_bytes()
    old, new = read_kept(base.path(PART)).models[1.0], read_kept(made.path(PART)).models[1.0]
    moved = {name for name, value in new.state_dict().items() if not value.equal(old.state_dict()[name])}
    assert not any(name.startswith(("item_", "user_", "cross_", "hidden.0.")) for name in moved)


@pytest.mark.parametrize("clearly", [True, False])
def test_the_last_layers_of_the_ranker_learn_where_that_is_clearly_better(
    updated: Updated, clearly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not clearly:
        monkeypatch.setattr("upnext.training.ranker_update._clearly_better", lambda *gains: False)
    model = read_kept(updated.base.path(PART)).models[1.0]
    rng = np.random.default_rng(0)
    # As large as what the model has seen, so that what it knows does not drown what is new.
    mean, scale = model.cross_inputs.mean.numpy(), model.cross_inputs.scale.numpy()
    spread = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    cross = (mean + rng.normal(size=(400, 10, len(mean))) * spread).astype(np.float32)
    told = int(np.flatnonzero(scale)[-1])
    lists = RankerLists(
        np.zeros((10, len(model.item_inputs.mean)), np.float32),
        np.zeros((400, len(model.user_inputs.mean)), np.float32),
        np.tile(np.arange(10, dtype=np.int32), (400, 1)), cross, cross[:, :, told].argmin(axis=1).astype(np.int32),
    )  # fmt: skip
    learnt = update_ranker(model, lists, epochs=4, learning_rate=1e-2, seed=0)
    moved = {name for name, value in learnt.state_dict().items() if not value.equal(model.state_dict()[name])}
    if not clearly:
        assert not moved
        return
    assert {"hidden.1.weight", "hidden.2.weight", "wide.weight"} <= moved
    assert not any(name.startswith(("item_", "user_", "cross_", "hidden.0.")) for name in moved)


def test_only_users_with_something_new_are_encoded_again(updated: Updated) -> None:
    before, after = updated.vectors_before, updated.vectors_after
    away = range(USERS - AWAY, USERS)
    assert [before[user] == after[user] for user in away] == [True] * AWAY
    assert not any(before[user] == after[user] for user in range(USERS - AWAY))
    assert before[USERS] is None
    assert after[USERS] is not None  # the one who is new


def test_the_release_says_that_it_was_made_by_an_update(updated: Updated) -> None:
    facts, base = updated.update.json("facts"), updated.base.json("facts")
    assert (facts["made_by"], facts["updated_from"], facts["updates"]) == ("update", updated.base.id, 1)
    assert (base["made_by"], base["updates"]) == ("training", 0)
    assert facts["encoders"] == base["encoders"]  # stored vectors stay true
    assert updated.update.manifest.parent == updated.base.id
    listed = CliRunner().invoke(cli, ["release", "list", "--home", str(updated.home)], catch_exceptions=False).output
    assert "update 1" in listed


def test_an_updated_release_is_updated_again(updated: Updated, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(updated.home, home)
    with opened_home(home) as opened:
        opened.event_log.append(walk(3, ["20", "21", NEW, "22"], NOW_MS + 9_000 * MINUTE_MS, 2))
    again = update(home, updated.update)
    assert again.json("facts")["updates"] == 2
    n = len(updated.update.array("catalog.sorted_keys"))
    np.testing.assert_array_equal(again.array("vectors.session")[:n], updated.update.array("vectors.session")[:n])


def test_without_anything_new_there_is_no_update(updated: Updated, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(updated.home, home)
    with pytest.raises(TrainingError, match=f"nothing new since release {updated.update.id}"):
        update(home, updated.update)


def test_a_release_that_knows_the_answers_is_not_updated_with_them_held_out(updated: Updated) -> None:
    with pytest.raises(TrainingError, match="has learnt from events that would be held out"):
        update(updated.home, updated.update, hold_out=True, cut_ms=NOW_MS + 20 * MINUTE_MS)


def test_encoders_of_other_settings_are_to_be_trained_anew(updated: Updated) -> None:
    wider = msgspec.structs.replace(TRAIN, session=msgspec.structs.replace(TRAIN.session, embedding_size=32))
    with pytest.raises(TrainingError, match=r"session\.embedding_size = 16, and 32 is asked; train anew"):
        update(updated.home, updated.base, wider)


def test_a_release_without_its_ranker_is_not_updated(updated: Updated) -> None:
    with Releases(updated.home).writer() as writer:
        copy_parts(updated.base, writer, lambda name: name == PART)
        bare = writer.commit(dataset="ring")
    with pytest.raises(TrainingError, match=r"does not hold what it was trained as \(ranker.state\); train anew"):
        update(updated.home, bare)


def test_without_a_release_the_command_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["train", "--home", str(tmp_path / "home"), "--update"])
    assert result.exit_code == 1
    assert "no release is active" in str(result.exception or result.output)


def test_vectors_that_came_by_updates_are_not_shown_to_the_rankers_item_side(updated: Updated, tmp_path: Path) -> None:
    """It has learnt that what has a vector is not new."""
    base, made = updated.base, updated.update
    row = len(base.array("catalog.sorted_keys"))  # behind what the release knew
    assert UNLEARNT_PART not in base
    assert made.array(UNLEARNT_PART).tolist() == [row]
    assert made.array("vectors.session")[row, :-1].any()
    with opened_home(updated.home) as opened:
        funnel = open_subject(made, opened.records, opened.event_log, Settings()).live.funnel
    names = funnel.assembler.spec.item
    for each, learnt in ((row, 0.0), (row - 1, 1.0)):
        shown = funnel.assembler.items(funnel.crowd.trends, np.array([each], np.int32))[0]
        assert shown[names.index("learnt")] == learnt
        assert shown[[name.startswith("session_space") for name in names]].any() == bool(learnt)
    home = tmp_path / "home"
    shutil.copytree(updated.home, home)
    with opened_home(home) as opened:
        opened.event_log.append(walk(3, ["20", "another", "21", "another"], NOW_MS + 9_000 * MINUTE_MS, 2))
    again = update(home, made)
    assert again.array(UNLEARNT_PART).tolist() == [row, row + 1]


@pytest.mark.parametrize(("most", "n"), [(1, 1), (5, 1), (9, 1), (10, 2), (100, 4)])
def test_choices_to_learn_from_are_those_of_users_drawn_at_random(most: int, n: int) -> None:
    users = np.array([3, 5, 8, 9], np.int32)
    of_events = np.repeat(users, 5)
    some = _some(of_events[np.random.default_rng(0).permutation(20)], users, most, seed=1)
    assert len(some) == n
    assert some.tolist() == sorted(set(some.tolist()))
    assert max(some) < 4
