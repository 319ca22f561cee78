"""Selected inputs from a log to slates, and that lists hold features as they were when asked."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from tests.cli.test_impression_lists import outcome
from tests.conftest import TrainedHome, train_tiny
from tests.funnel.fakes import World as SmallWorld
from upnext.cli.home import opened_home
from upnext.cli.pipeline.evaluation import open_subject
from upnext.cli.pipeline.impression_lists import impression_lists
from upnext.cli.pipeline.lists import ranker_lists
from upnext.cli.pipeline.rehearsal import crowd_of
from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.errors import ReleaseError
from upnext.features.spec import EVERYTHING, ITEM, USER, Chosen, FeatureSpec
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.funnel import Funnel
from upnext.funnel.live import open_live
from upnext.funnel.replay import Replay
from upnext.funnel.request import SlateRequest
from upnext.funnel.served import served_slate
from upnext.ingest.served import JoinedSlate
from upnext.models.ranker_lists import RankerLists
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.training.splits import interactions


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Release:
    home = tmp_path_factory.mktemp("selected") / "home"
    train_tiny(home, select=True)
    return Releases(home).open_active()


def test_a_release_asks_for_the_selected_inputs_and_shows_how_they_were_found(selected: Release) -> None:
    report = selected.manifest.reports["features"]
    spec = msgspec.convert(selected.json("ranker.spec")["features"], FeatureSpec)
    chosen = spec.chosen()
    kept = [(line["side"], line["name"]) for line in report["features"] if line["kept"]]
    assert sorted(kept) == sorted(
        [*(("cross", name) for name in chosen.cross), *(("user", name) for name in chosen.user)]
        + [("item", name) for name in chosen.item]
    )
    assert len(kept) == 20
    assert chosen.cross[0] == "session_score"
    assert (chosen.user[:1], chosen.item[:4]) == (USER, ITEM)
    assert report["n_features"] > 160
    assert [point["n_features"] for point in report["curve"] if point["kept"]] == [20]
    assert selected.path("report.features").read_bytes().startswith(b"\x89PNG")


def test_a_release_with_selected_inputs_serves_them(selected: Release) -> None:
    live = open_live(selected, Settings(), ManualClock(1_760_000_000_000))
    funnel = live.funnel
    assert funnel.assembler.spec.digest() == selected.json("ranker.spec")["digest"]
    view = UserView(n_interactions=2, last_ms=1, recent_rows=np.array([3, 4], np.int32))
    answer = Answer(funnel.popular(), capture=True)
    funnel.run(SlateRequest(subject="u:x", k=10), answer, lambda _: view, _never())
    assert answer.slate is not None
    assert (answer.slate.tier, len(answer.slate.rows)) == ("full", 10)
    assert answer.inputs is not None
    assert answer.inputs.cross.shape[1] == len(funnel.assembler.chosen.cross) < 20


def test_a_release_that_asks_for_an_input_without_a_formula_is_refused(selected: Release) -> None:
    document = selected.json("ranker.spec")
    features = {**document["features"], "cross": ["phase_of_moon", *document["features"]["cross"][1:]]}
    changed = Release(selected.folder, selected.manifest)
    changed._documents["ranker.spec"] = {**document, "features": features}
    with pytest.raises(ReleaseError, match=r"made for other ranker inputs .* 'phase_of_moon' among them"):
        open_live(changed, Settings(), ManualClock(0))


def lists_until(trained_home: TrainedHome, n_events: int) -> RankerLists:
    """Lists with all inputs for the 60 events after the first 3,000, of a log that ends after `n_events` more."""
    with opened_home(trained_home.path) as opened:
        release = Releases(trained_home.path).open_active()
        subject = open_subject(release, opened.records, opened.event_log, Settings())
    world, parts = subject.world, subject.live.funnel
    events = np.flatnonzero(interactions(world.columns))[: 3_000 + n_events]
    kept = np.zeros(len(world.columns.user), np.bool_)
    kept[events] = True
    names = ("user", "item", "action", "timestamp_ms", "session", "value", "seq", "context")
    world = replace(
        world, columns=replace(world.columns, **{name: getattr(world.columns, name)[kept] for name in names})
    )
    place = np.arange(len(events))
    before, asked = place < 3_000, (place >= 3_000) & (place < 3_060)
    funnel = Funnel(
        parts.catalog, parts.vectors, parts.indexes, crowd_of(world, before, Settings()), None, Settings(),
        SystemClock(), chosen=EVERYTHING,
    )  # fmt: skip
    replay = Replay(funnel, subject.live.stepper, world.visitors, Settings().state)
    chosen = asked if n_events == 60 else place >= 3_000
    lists, _ = ranker_lists(world, replay, chosen, before, 1_000, 0, lambda done, total, remark: None)
    return lists


def test_features_are_as_they_were_when_asked_whatever_came_later(trained_home: TrainedHome) -> None:
    early, late = lists_until(trained_home, 60), lists_until(trained_home, 300)
    n = len(early)
    assert 10 < n < len(late)
    np.testing.assert_array_equal(early.rows, late.rows[:n])
    np.testing.assert_array_equal(early.target, late.target[:n])
    np.testing.assert_array_equal(early.cross, late.cross[:n])
    np.testing.assert_array_equal(early.user, late.user[:n])
    np.testing.assert_array_equal(early.item_inputs, late.item_inputs)


def test_served_slates_of_other_inputs_of_the_same_number_are_not_learnt_from() -> None:
    world = SmallWorld(40)
    mine, other = Chosen(cross=("session_score", "covisit")), Chosen(cross=("session_score", "count_daily"))
    funnel = Funnel(
        world.catalog, world.vectors, world.indexes(), world.crowd(Settings()), world.funnel().ranker, Settings(),
        world.clock, chosen=mine,
    )  # fmt: skip
    answer = Answer(funnel.popular(), capture=True)
    request = SlateRequest(None, k=10)
    funnel.run(request, answer, lambda _: world.view(recent=[1]), _never())
    ids = world.catalog.ids.take(answer.slate.rows)
    slate = served_slate(request, answer, answer.slate, funnel, request_id="1", served_ms=1, release="r", item_ids=ids)
    joined = [JoinedSlate(slate, [outcome(ids[3])])]
    items, spec = funnel.assembler.items(funnel.crowd.trends), funnel.assembler.spec
    assert impression_lists(joined, world.catalog, items, spec).cross.shape == (1, 10, 2)
    assert len(impression_lists(joined, world.catalog, items, spec.with_chosen(other))) == 0


def _never() -> Deadline:
    return Deadline.never(SystemClock())
