"""A small release opened for requests: what was written is what serves, and parts that do not fit are refused."""

import numpy as np
import pytest

from tests.funnel.fakes import NOW_MS, noted, run
from tests.funnel.small_release import DIM, N_ITEMS, SPARE, made_parts, release_of
from upnext.clock import Deadline
from upnext.domain.event import Event
from upnext.errors import ReleaseError
from upnext.features.signals import signals_of
from upnext.funnel.live import Live, open_live
from upnext.release.onnx_session import open_session
from upnext.settings import RankingSettings, Settings
from upnext.state.apply import apply_events
from upnext.store.memory_store import MemoryStore


@pytest.fixture(scope="module")
def parts():
    return made_parts()


@pytest.fixture(scope="module")
def live(parts, tmp_path_factory) -> Live:
    return open_live(release_of(tmp_path_factory.mktemp("home"), parts), Settings(), parts.world.clock)


def test_a_click_is_seen_by_the_next_request_and_reshapes_its_slate(live, parts):
    clock, store = parts.world.clock, MemoryStore()
    never = Deadline.never(clock)
    slates = []
    for number, row in enumerate((3, 17, 41)):
        click = Event(event_id=f"{number}", action="click", timestamp_ms=NOW_MS, user_id="1", item_id=f"{row}")
        apply_events([(number + 1, click)], store, live.stepper, Settings().state, never)
        answer = run(live.funnel, clock, read=lambda until: live.view("u:1", store, until))
        assert (answer.slate.tier, answer.state_version, noted(answer)) == ("full", number + 1, [])
        assert len(answer.slate.rows) == 10
        assert row not in answer.slate.rows
        slates.append(answer.slate.rows.tolist())
    assert slates[0] != slates[1] != slates[2]


def test_what_is_served_is_the_float_rankers_order_but_for_rounding(live, parts):
    world, exported = parts.world, parts.exported
    view = world.view(recent=[5, 9], seen=[5, 9])
    answer = run(live.funnel, world.clock, view, k=20)
    funnel, rows, sources = live.funnel, answer.ranked.rows, answer.ranked.sources
    signals = signals_of(view, funnel.catalog, funnel.vectors, funnel.crowd)
    cross = funnel.assembler.cross(view, signals, rows, sources, funnel.crowd)
    hidden = exported.weights.item_part(funnel.assembler.items(funnel.crowd.trends)[rows])
    user = funnel.assembler.user(view, signals)[None]
    exact = open_session(exported.float_graphs[2]).run(None, {"item_hidden": hidden, "user": user, "cross": cross})[0]
    assert np.corrcoef(exact, answer.ranked.scores)[0, 1] > 0.97


def test_nobody_in_particular_is_a_user_with_nothing_known(live, parts):
    store = MemoryStore()
    view = live.view(None, store, Deadline.never(parts.world.clock))
    assert (view.n_interactions, len(view.session_vector)) == (0, 0)
    answer = run(live.funnel, parts.world.clock, view)
    assert (answer.slate.tier, noted(answer)) == ("full", [])


def test_what_the_release_says_of_itself_is_kept(live):
    assert (live.log_sequence, live.fresh.revision, live.stepper.encoders) == (5, 40, "e1")
    assert live.funnel.crowd.trends.popular().tolist() == list(range(20))
    assert live.funnel.ranker.exits == ("exit1", "exit2")


def test_a_release_without_a_ranker_serves_the_fast_tier(parts, tmp_path):
    release = release_of(tmp_path, parts, without=("ranker.exits",))
    answer = run(open_live(release, Settings(), parts.world.clock).funnel, parts.world.clock)
    assert (answer.slate.tier, noted(answer)) == ("fast", [("ranking", "absent")])


def test_a_ranker_made_for_other_inputs_is_refused(parts, tmp_path):
    with pytest.raises(ReleaseError, match="other ranker inputs"):
        open_live(release_of(tmp_path, parts, digest="0123456789abcdef"), Settings(), parts.world.clock)


def test_an_exit_that_the_release_does_not_have_is_refused(parts, tmp_path):
    settings = Settings(ranking=RankingSettings(exit="exit9"))
    with pytest.raises(ReleaseError, match=r"'exit9', but release .* has exit1, exit2"):
        open_live(release_of(tmp_path, parts), settings, parts.world.clock)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"user_index": (N_ITEMS - 1, DIM)}, "index and vectors of the user space .* differ"),
        ({"content_index": (N_ITEMS, DIM + 1)}, "index and vectors of the content space .* differ"),
        ({"session": (N_ITEMS + 2, DIM + 1), "session_index": (N_ITEMS + 2, DIM + 1)}, "62 session vectors for 60"),
        ({"hidden": (N_ITEMS - 5, 32)}, "knows 55 of 60 items"),
    ],
)
def test_parts_of_different_catalogues_are_refused(parts, tmp_path, replaced, message):
    tables = {name: np.ones(shape, np.float32) for name, shape in replaced.items()}
    with pytest.raises(ReleaseError, match=message):
        open_live(release_of(tmp_path, parts, **tables), Settings(), parts.world.clock)


def test_without_its_spare_rows_a_release_is_what_the_training_saw(parts, tmp_path):
    release = release_of(tmp_path, parts)
    with_spare, bare = (open_live(release, Settings(), parts.world.clock, spare_rows=spare) for spare in (True, False))
    for live, spare in ((with_spare, SPARE), (bare, 0)):
        catalog = live.funnel.catalog
        assert (catalog.n_released, catalog.n_items) == (N_ITEMS, N_ITEMS + spare)
        assert len(live.funnel.vectors.session) == len(live.funnel.crowd.trends.first_seen_ms) == N_ITEMS + spare
    np.testing.assert_array_equal(bare.funnel.vectors.user, parts.world.vectors.user)
    answers = [run(live.funnel, parts.world.clock, parts.world.view(), k=20) for live in (bare,)]
    assert len(answers[0].slate.rows) == 20
