"""Nothing that the ranker learns from tells what is chosen later; then the newest items get their places, too."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.cli.test_merge import CLICKS, Log, replayed
from tests.cli.test_update import NOW_MS, TRAIN, USERS, first_days, stored_vectors, walk
from tests.conftest import NoSteps
from upnext.catalog.catalog import Catalog
from upnext.cli.home import opened_home
from upnext.cli.pipeline.lists import ranker_lists
from upnext.cli.pipeline.outside import write_inputs
from upnext.cli.pipeline.run import TrainingRun
from upnext.features.spec import ITEM
from upnext.release.release import Release
from upnext.settings import RetrievalSettings, Settings
from upnext.training.sequences import Sequences
from upnext.training.session_loop import load_session

DAY_MS = 86_400_000
NEW = "new"


def test_lists_have_the_item_side_as_it_was_before_any_of_their_choices() -> None:
    replay = replayed(RetrievalSettings())
    crowd, assembler = replay.funnel.crowd, replay.funnel.assembler
    before = assembler.items(crowd.trends)
    world, chosen = Log(), np.ones(len(CLICKS), bool)
    lists, _ = ranker_lists(world, replay, chosen, chosen, 100, 0, lambda *_: None)
    assert len(lists) > 2
    np.testing.assert_array_equal(lists.item_inputs, before)
    count = assembler.spec.item.index(next(name for name in ITEM if name.startswith("count")))
    assert assembler.items(crowd.trends)[2, count] > before[2, count]  # the crowd has moved on meanwhile


def last_clicks() -> list:
    """So few that they are all the ranker's: between 7 and 8 of the ring there is something new."""
    walks = [walk(user, ["5", "6", "7", NEW], NOW_MS + DAY_MS, 2) for user in range(0, USERS, 2)]
    return sorted((event for each in walks for event in each), key=lambda event: event.timestamp_ms)


def trained(home: Path, *, after_training: bool) -> Release:
    train = msgspec.structs.replace(TRAIN, update=msgspec.structs.replace(TRAIN.update, after_training=after_training))
    with opened_home(home) as opened:
        run = TrainingRun(home, opened.store, opened.records, opened.event_log, Settings(), train, 0, NoSteps())
        return run.release("ring", "time", hold_out=False)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release, Release]:
    """The home, and what training leaves in it without and with the newest items."""
    home = tmp_path_factory.mktemp("newest") / "home"
    with opened_home(home) as opened:
        opened.event_log.append([*first_days(), *last_clicks()])
    return home, trained(home, after_training=False), trained(home, after_training=True)


def row_of(release: Release, item_id: str) -> int:
    return Catalog.open(release.array, release.json, release.own_array).row_of(item_id)


def test_an_item_met_in_the_rankers_part_alone_is_foretold_where_it_was_chosen(releases) -> None:
    _, without, made = releases
    row = row_of(made, NEW)
    assert not without.array("vectors.session")[row, :-1].any()
    table = made.array("vectors.session")
    session = load_session(made.path("encoder.session"))
    places = {}
    for end in (7, 30):
        items = np.array([row_of(made, str(end - back)) for back in (3, 2, 1, 0)])
        query, _ = session.encode(Sequences.from_events(np.zeros(4, np.int32), items, 1))
        scores = query[0] @ table[:61, :-1].T + table[:61, -1]
        places[end] = int((scores > scores[row]).sum())
    assert places[7] < 5
    assert places[30] > 10


def test_all_others_keep_their_places_and_every_user_is_stored_for_the_new_ones(releases) -> None:
    home, without, made = releases
    others = np.arange(61) != row_of(made, NEW)
    for name in ("vectors.session", "vectors.user"):
        np.testing.assert_array_equal(made.array(name)[:61][others], without.array(name)[:61][others])
        assert made.array(name)[:61][~others].any()
    names = [release.json("facts")["encoders"] for release in (without, made)]
    assert names[0] != names[1]
    assert all(stored_vectors(home, names[1])[:USERS])


def test_lists_for_models_trained_outside_know_nothing_of_what_was_learnt_last(releases, tmp_path) -> None:
    home, without, made = releases
    told = {}
    with opened_home(home) as opened:
        for release in (without, made):
            path = tmp_path / f"{release.id}.npz"
            write_inputs(release, opened.records, opened.event_log, Settings(), path, 300, NoSteps().step)
            told[release.id] = np.load(path)
    assert len(told[made.id]["rows"]) > 10
    for name in ("item", "user", "rows", "cross", "target"):
        np.testing.assert_array_equal(told[made.id][name], told[without.id][name])
