"""Searches and dislikes in a trained world: the next slate is another one, and in the direction that was meant."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.conftest import TINY_WORLD_NOW_MS, TrainedHome
from upnext.clock import Deadline, ManualClock
from upnext.domain.event import Event
from upnext.features.session_inputs import N_GAPS, InputTables
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live, input_tables, open_live
from upnext.funnel.request import SlateRequest
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.state.apply import apply_events, read_user
from upnext.store.memory_store import MemoryStore

SETTINGS = Settings()
CLOCK = ManualClock(TINY_WORLD_NOW_MS)
NEVER = Deadline.never(CLOCK)
K = 20


@pytest.fixture(scope="module")
def live(trained_home: TrainedHome) -> Live:
    return open_live(Releases(trained_home.path).open_active(), SETTINGS, CLOCK)


class User:
    """Somebody who acts, and looks at slates in between."""

    def __init__(self, live: Live, rows: list[int]) -> None:
        self.live, self.store, self.n_events = live, MemoryStore(CLOCK), 0
        for row in rows:
            self.does("click", item_id=live.funnel.catalog.ids[row])

    def does(self, action: str, **fields: str) -> None:
        self.n_events += 1
        moment_ms = TINY_WORLD_NOW_MS + 1_000 * self.n_events
        event = Event(event_id=f"{self.n_events}", action=action, timestamp_ms=moment_ms, user_id="ann", **fields)
        apply_events([(self.n_events, event)], self.store, self.live.stepper, SETTINGS.state, NEVER)

    def share(self, genre: str) -> float:
        """Of the items of a slate, those whose first genre it is."""
        answer, catalog = Answer(self.live.funnel.popular()), self.live.funnel.catalog
        self.live.funnel.run(
            SlateRequest("u:ann", k=K), answer, lambda until: self.live.view("u:ann", self.store, until), NEVER
        )
        assert answer.slate is not None
        assert answer.slate.tier == "full"
        return float((catalog.genre[answer.slate.rows] == catalog.genres.index(genre)).mean())


@pytest.fixture
def users(live: Live) -> Callable[[], list[User]]:
    """Twelve, with up to five clicks at random; the same each time."""

    def made() -> list[User]:
        rng = np.random.default_rng(0)
        n = live.funnel.catalog.n_released
        return [User(live, rng.integers(0, n, n_clicks).tolist()) for n_clicks in [*range(6), *range(6)]]

    return made


@pytest.mark.parametrize(("query", "genre"), [("thriller", "Thriller"), ("some Science Fiction", "Science Fiction")])
def test_a_search_raises_the_share_of_what_was_searched_in_the_next_slate(
    users: Callable[[], list[User]], query: str, genre: str
) -> None:
    before, after = [], []
    for user in users():
        before.append(user.share(genre))
        user.does("search", query=query)
        after.append(user.share(genre))
    assert np.mean(after) > np.mean(before) + 0.1


def test_a_search_without_a_known_word_moves_no_vector(live: Live) -> None:
    user = User(live, [3, 4])
    before = live.view("u:ann", user.store, NEVER)
    user.does("search", query="qqq zzz")
    after = live.view("u:ann", user.store, NEVER)
    assert (after.state_version, after.n_moves) == (3, 3)
    np.testing.assert_array_equal(after.session_vector, before.session_vector)


def test_dislikes_of_a_genre_lower_what_the_session_vector_makes_of_it(live: Live) -> None:
    catalog, vectors = live.funnel.catalog, live.funnel.vectors
    table = vectors.session[: catalog.n_released] if vectors.session is not None else np.empty(0)
    rng, changes = np.random.default_rng(1), []
    for _ in range(40):
        user = User(live, rng.integers(0, catalog.n_released, 6).tolist())
        row = int(rng.integers(catalog.n_released))
        like = catalog.genre[: catalog.n_released] == catalog.genre[row]
        scores = []
        for act in (lambda: None, lambda user=user, row=row: user.does("dislike", item_id=catalog.ids[row])):
            act()
            view = live.view("u:ann", user.store, NEVER)
            all_scores = table @ vectors.session_query(view.session_vector)
            scores.append((all_scores[like].mean() - all_scores.mean()) / all_scores.std())
        changes.append(scores[1] - scores[0])
    assert np.mean(changes) < -0.3
    assert np.mean(np.array(changes) < 0) > 0.8


def test_hints_that_came_while_vectors_lagged_are_lost_and_interactions_are_not(live: Live) -> None:
    at_once, lagging = User(live, [3, 4, 5]), User(live, [3, 4])
    lagging.does("search", query="thriller")
    stored = lagging.store.get_many([b"state/u:ann"], NEVER)[0]
    assert stored is not None
    fresh = MemoryStore(CLOCK)
    fresh.put_many([(b"state/u:ann", stored)], NEVER)  # without vectors, as after a new release
    state, vectors = read_user("u:ann", fresh, live.stepper, NEVER)
    expected = read_user("u:ann", User(live, [3, 4]).store, live.stepper, NEVER)[1]
    assert vectors is not None
    assert expected is not None
    assert (state.state_version, vectors.state_version, vectors.n_interactions) == (3, 3, 2)
    np.testing.assert_allclose(vectors.hidden, expected.hidden, atol=1e-5)
    assert at_once.n_events == 3


class FakeRelease(dict[str, object]):
    """Parts by name."""

    def array(self, name: str) -> object:
        return self[name]

    json = array


def test_a_release_has_the_tables_that_it_was_written_with_and_an_older_one_none() -> None:
    older: InputTables = input_tables(FakeRelease())  # type: ignore[arg-type]
    assert (older.actions, older.gaps, older.values) == (None, None, None)
    tables = {"session.actions": np.ones((14, 2), np.float32), "session.gaps": np.ones((N_GAPS, 2), np.float32)}
    found = input_tables(FakeRelease(tables))  # type: ignore[arg-type]
    assert found.actions is tables["session.actions"]
    assert found.gaps is tables["session.gaps"]
    assert found.values is None
    values = {"session.values": np.ones((3, 2), np.float32), "session.value_edges": [1.5]}
    found = input_tables(FakeRelease(values))  # type: ignore[arg-type]
    assert found.values is values["session.values"]
    assert found.value_edges.tolist() == [1.5]
