"""Merge weights from log to request: cases as retrieval has them, the release keeps them, serving uses them."""

import numpy as np
import pytest

from tests.conftest import TrainedHome
from tests.funnel.fakes import World, rows_of
from upnext.cli.pipeline.merge import merge_cases
from upnext.clock import SystemClock
from upnext.features.spec import SOURCE_BIT
from upnext.funnel.live import open_live
from upnext.funnel.replay import Replay
from upnext.funnel.retrieval.weights import WEIGHTS_PART, with_learnt_weights
from upnext.ingest.columns import EventColumns
from upnext.release.releases import Releases
from upnext.settings import RetrievalSettings, Settings, StateSettings

CLICKS = [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (0, 3), (2, 1), (2, 2), (2, 199)]


class Log:
    """As much of a world as the replay looks at: users who click on the rows of `CLICKS` one after the other."""

    def __init__(self) -> None:
        n = len(CLICKS)
        users, rows = (np.array(column, np.int32) for column in zip(*CLICKS, strict=True))
        self.columns = EventColumns(
            user=users, item=rows, action=np.ones(n, np.uint8), timestamp_ms=np.arange(n) * 1_000,
            session=np.zeros(n, np.uint64), value=np.full(n, np.nan, np.float32), seq=np.arange(n) + 1,
            users=["a", "b", "c"], items=[""] * n,
        )  # fmt: skip


def replayed(retrieval: RetrievalSettings) -> Replay:
    world = World()
    return Replay(world.funnel(Settings(retrieval=retrieval), ranker=None), None, np.arange(3, dtype=np.uint64), STATE)


STATE = StateSettings()
OFF = dict.fromkeys(("user_vector", "session_vector", "content", "neighbours", "fresh", "popular", "trending"), 0)


def test_the_merge_of_the_cases_is_that_of_retrieval() -> None:
    retrieval = RetrievalSettings(**OFF | {"popular": 50})
    cases = merge_cases(Log(), replayed(retrieval), np.ones(len(CLICKS), bool), 100, 0, lambda *_: None)
    assert cases.sources == ("covisit", "session_knn", "context", "popular")
    names = ("covisit", "session_knn", "context", "popular")
    weights = np.array([getattr(retrieval, f"{name}_weight") for name in names], np.float32)
    replay, asked = replayed(retrieval), 0
    columns = Log().columns
    places = cases.places(weights)
    for event, (user, row) in enumerate(CLICKS):
        _, _, candidates = replay.retrieve(user)
        if len(candidates.rows):
            at = np.flatnonzero(candidates.rows == row)
            equal = candidates.scores == candidates.scores[at] if len(at) else []
            expected = 1 + np.flatnonzero(equal).mean() if len(at) else np.inf
            assert places[asked] == expected
            asked += 1
        replay.observe(user, 0, row, int(columns.timestamp_ms[event]))
    assert len(cases) == asked > 5
    assert np.isinf(places[-1]), "nobody had chosen it before"


def test_no_more_events_are_asked_about_than_told() -> None:
    cases = merge_cases(Log(), replayed(RetrievalSettings(**OFF)), np.ones(len(CLICKS), bool), 3, 0, lambda *_: None)
    assert len(cases) <= 3


def test_learnt_weights_serve_unless_the_settings_ask_for_their_own(trained_home: TrainedHome) -> None:
    release = Releases(trained_home.path).open_active()
    learnt = release.json(WEIGHTS_PART)
    assert release.manifest.reports["merge"]["weights"] == learnt
    own = Settings(retrieval=RetrievalSettings(weights="settings"))
    for settings, expected in ((Settings(), learnt), (own, {})):
        served = open_live(release, settings, SystemClock()).funnel.settings.retrieval
        for source in SOURCE_BIT:
            name = f"{source}_weight"
            if hasattr(served, name):
                assert getattr(served, name) == expected.get(source, getattr(RetrievalSettings(), name))


def test_weights_of_unknown_sources_and_none_at_all_change_nothing_else() -> None:
    assert with_learnt_weights(Settings(), None) == with_learnt_weights(Settings(), {"oracle": 2.0}) == Settings()
    changed = with_learnt_weights(Settings(), {"covisit": 2.0})
    assert changed == Settings(retrieval=RetrievalSettings(covisit_weight=2.0))


def test_a_trained_release_has_neighbours_and_sessions(trained_home: TrainedHome) -> None:
    live = open_live(Releases(trained_home.path).open_active(), Settings(), SystemClock())
    neighbours, sessions = live.funnel.indexes.neighbours, live.funnel.crowd.sessions
    assert neighbours is not None
    assert sessions is not None
    some = rows_of(*live.funnel.crowd.trends.popular()[:2])
    assert len(neighbours.of(some)[0])
    assert len(sessions.like(some, np.ones(2, np.float32))[0])
    without = open_live(
        Releases(trained_home.path).open_active(), Settings(retrieval=RetrievalSettings(session_knn=0)), SystemClock()
    )
    assert without.funnel.crowd.sessions is None


@pytest.mark.parametrize("name", ["session_knn", "neighbours"])
def test_the_new_sources_have_bits_beyond_the_first_eight(name: str) -> None:
    assert SOURCE_BIT[name] >= 1 << 8
