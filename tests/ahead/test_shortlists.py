"""Shortlists over a small release: what is found answers as the funnel would, and only while it holds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.funnel.small_release import made_parts, release_of
from upnext.ahead.making import answer_of, shared, shortlist_of, take_shortlist
from upnext.ahead.shortlists import Shortlists
from upnext.clock import Clock, Deadline
from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live, open_live
from upnext.funnel.request import SlateRequest
from upnext.funnel.route import Route
from upnext.settings import AheadSettings, Settings
from upnext.state.apply import apply_events
from upnext.state.changes import Changes, create_changes
from upnext.state.shortlist import Shortlist, shortlist_key
from upnext.store.memory_store import MemoryStore

ANN = SlateRequest(subject="u:ann", k=5)
AGES = AheadSettings(live_age_ms=30_000, precomputed_age_ms=300_000, below=20, queue=3)


@pytest.fixture(scope="module")
def parts():
    return made_parts()


@pytest.fixture(scope="module")
def live(parts, tmp_path_factory) -> Live:
    return open_live(release_of(tmp_path_factory.mktemp("home"), parts), Settings(), parts.world.clock)


class Worker:
    """One worker's shortlists, and the funnel for what they do not answer."""

    def __init__(self, live: Live, store: MemoryStore, table: Path, clock: Clock, *, local: bool = True) -> None:
        self.live, self.store, self.clock = live, store, clock
        self.changes = Changes(table)
        self.trusted = True
        self.shortlists = Shortlists(store, self.changes, clock, AGES, local=local, trusted=lambda: self.trusted)
        self.events = 0

    def works_out(self, request: SlateRequest = ANN, why: str = "absent") -> Answer:
        answer = Answer(self.live.funnel.popular(), why=why)
        self.live.funnel.run(
            request,
            answer,
            lambda until: self.live.view(request.subject, self.store, until),
            Deadline.never(self.clock),
        )
        return answer

    def serves(self, request: SlateRequest = ANN) -> Answer:
        """As an ordinary request: what it works out is kept."""
        change = self.shortlists.change_of(request.subject)
        route = self.shortlists.find(self.live, request).route
        answer = self.works_out(request, route.why)
        self.shortlists.keep(self.live, request, answer, change)
        return answer

    def route(self, request: SlateRequest = ANN) -> Route:
        return self.shortlists.find(self.live, request).route

    def chooses(self, *item_ids: str, user: str = "ann", mark: bool = True) -> None:
        for item_id in item_ids:
            self.events += 1
            event = Event(event_id=f"{self.events}", action="click", timestamp_ms=1, user_id=user, item_id=item_id)
            apply_events(
                [(self.events, event)], self.store, self.live.stepper, Settings().state, Deadline.never(self.clock)
            )
        if mark:
            self.changes.mark([f"u:{user}"])


@pytest.fixture
def store(parts) -> MemoryStore:
    return MemoryStore(parts.world.clock)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    create_changes(tmp_path / "changes")
    return tmp_path / "changes"


@pytest.fixture
def worker(live, store, table, parts) -> Worker:
    worker = Worker(live, store, table, parts.world.clock)
    worker.chooses("3", "17")
    return worker


def slate_of(worker: Worker, request: SlateRequest = ANN) -> list[int]:
    """Of what is found: the rules applied to it."""
    route, at_hand = worker.shortlists.find(worker.live, request)
    assert at_hand is not None, route
    funnel = worker.live.funnel
    answer = answer_of(at_hand.shortlist, funnel.popular(), at_hand.seen_rows, at_hand.state_version, route)
    slate = funnel.finish(request, answer)
    assert slate.tier == "full"
    return slate.rows.tolist()


def test_the_next_request_of_the_same_user_gets_the_slate_the_funnel_would_make(worker):
    assert worker.route() == ("live", "absent")
    first = worker.serves()
    assert worker.route() == ("shortlist", "unchanged")
    assert slate_of(worker) == first.slate.rows.tolist() == worker.works_out().slate.rows.tolist()
    assert slate_of(worker, replace(ANN, k=12)) == worker.works_out(replace(ANN, k=12)).slate.rows.tolist()


def test_rules_are_always_fresh(worker):
    slate = worker.serves().slate.rows.tolist()
    exclude = np.array(slate[:2], np.int32)
    again = slate_of(worker, replace(ANN, exclude_rows=exclude))
    assert again == worker.works_out(replace(ANN, exclude_rows=exclude)).slate.rows.tolist()
    assert not set(slate[:2]) & set(again)


def test_once_the_user_chooses_something_the_shortlist_is_over_for_every_worker(worker, live, store, table):
    other = Worker(live, store, table, worker.clock)
    worker.serves()
    worker.shortlists.write()
    assert other.route() == ("shortlist", "unchanged")
    other.events = worker.events
    other.chooses("41")
    assert worker.route() == ("live", "chosen")
    assert other.route() == ("live", "chosen")


def test_activity_that_chooses_nothing_leaves_it_be(worker):
    worker.serves()
    worker.shortlists.write()
    opened = Event(event_id="open", action="app_open", timestamp_ms=2, user_id="ann")
    apply_events([(99, opened)], worker.store, None, Settings().state, Deadline.never(worker.clock))
    worker.changes.mark(["u:ann"])
    route, at_hand = worker.shortlists.find(worker.live, ANN)
    assert route == ("shortlist", "unchanged")
    assert at_hand.state_version == 3, "that of now"


def test_in_the_process_it_is_believed_without_the_store_and_only_while_changes_are_told(worker, monkeypatch):
    worker.serves()

    def fail(*_: object, **__: object) -> None:
        raise StoreError("out of reach")

    monkeypatch.setattr(worker.store, "get_many", fail)
    assert worker.route() == ("shortlist", "unchanged")
    worker.trusted = False
    with pytest.raises(StoreError):
        worker.route()


def test_another_worker_finds_it_in_the_store_and_has_it_at_hand_from_then_on(worker, live, store, table, monkeypatch):
    made = worker.serves()
    other = Worker(live, store, table, worker.clock)
    assert other.route() == ("live", "absent"), "it is not stored yet"
    worker.shortlists.write()
    assert other.route() == ("shortlist", "unchanged")
    monkeypatch.setattr(store, "get_many", None)
    assert slate_of(other) == made.slate.rows.tolist()


def test_a_store_on_another_machine_is_not_looked_into_on_the_way(live, store, table, parts):
    remote = Worker(live, store, table, parts.world.clock, local=False)
    remote.chooses("3")
    remote.serves()
    remote.shortlists.write()
    assert Worker(live, store, table, parts.world.clock, local=False).route() == ("live", "absent")
    assert remote.route() == ("shortlist", "unchanged")


def test_what_only_another_filter_wanted_does_not_replace_the_users_shortlist(worker):
    worker.serves()
    worker.shortlists.write()
    genre = replace(ANN, genres=("genre 1",), allowed=worker.live.funnel.catalog.allowed(genres=["genre 1"]))
    assert worker.route(genre) == ("live", "filter")
    worker.serves(genre)
    worker.shortlists.write()
    stored = Shortlist.unpack(worker.store.get_many([shortlist_key("u:ann")], Deadline.never(worker.clock))[0])
    assert stored.genres == ()
    assert worker.route(genre).name == worker.route().name == "shortlist"
    genres = worker.live.funnel.catalog.genre[slate_of(worker, genre)]
    assert set(genres.tolist()) == {worker.live.funnel.catalog.genres.index("genre 1")}


def test_it_is_not_stored_for_a_user_who_moved_on_or_was_erased_meanwhile(worker):
    worker.serves()
    worker.chooses("41")
    worker.shortlists.write()
    assert worker.store.get_many([shortlist_key("u:ann")], Deadline.never(worker.clock)) == [None]


def test_past_its_bound_the_queue_drops_the_oldest_and_counts_them(worker):
    for user in ("b", "c", "d", "e"):
        worker.chooses("3", user=user)
        worker.serves(SlateRequest(subject=f"u:{user}", k=5))
    assert worker.shortlists.dropped == 1
    worker.shortlists.write()
    keys = [shortlist_key(f"u:{user}") for user in "bcde"]
    found = worker.store.get_many(keys, Deadline.never(worker.clock))
    assert [raw is not None for raw in found] == [False, True, True, True]


def test_nobody_in_particular_is_answered_from_this_workers_own_memory(worker):
    nobody = SlateRequest(subject=None, k=5)
    made = worker.serves(nobody)
    assert worker.route(nobody) == ("shortlist", "unchanged")
    assert slate_of(worker, nobody) == made.slate.rows.tolist()
    worker.shortlists.write()
    assert list(worker.store.scan(b"shortlist/")) == []


def test_what_was_made_ahead_goes_to_the_store_alone_under_its_occasion(worker):
    assert worker.shortlists.keep_stored(worker.live, ANN, worker.works_out(), "speculation")
    assert worker.route() == ("live", "absent")
    worker.shortlists.write()
    assert worker.route() == ("prefetched", "unchanged")


def test_what_is_found_beside_the_state_is_as_good_as_what_the_stages_make(worker):
    made = worker.serves()
    _, at_hand = worker.shortlists.find(worker.live, ANN)
    answer = Answer(worker.live.funnel.popular())

    def at_hand_now(answer: Answer) -> bool:
        take_shortlist(answer, at_hand.shortlist, Route("shortlist", "unchanged"))
        return True

    read = lambda until: worker.live.view("u:ann", worker.store, until)  # noqa: E731
    worker.live.funnel.run(ANN, answer, read, Deadline.never(worker.clock), at_hand_now)
    assert answer.slate.rows.tolist() == made.slate.rows.tolist()
    assert (answer.slate.tier, answer.exit, answer.route) == ("full", made.exit, "shortlist")
    assert set(answer.timing_ms) == {"state", "reranking"}


def not_whole(answers: Sequence[tuple[str, Answer]]) -> list[str]:
    made = {"release": "r", "now_ms": 1, "origin": "live", "below": 10}
    return [name for name, answer in answers if shortlist_of(ANN, answer, **made) is None]


def test_only_a_whole_answer_becomes_a_shortlist(worker):
    whole = worker.works_out()
    degraded, unread, fast = (shared(whole) for _ in range(3))
    for answer in (degraded, unread, fast):
        answer.slate = whole.slate
    degraded.degrade("retrieval.covisit", "error")
    unread.state_read = False
    fast.ranked = whole.below[-1]
    answers = [("whole", whole), ("degraded", degraded), ("unread", unread), ("fast", fast), ("open", shared(whole))]
    assert not_whole(answers) == ["degraded", "unread", "fast", "open"]
    excluding = replace(ANN, exclude_rows=np.array([1], np.int32))
    assert shortlist_of(excluding, whole, release="r", now_ms=1, origin="live", below=10) is None


def test_one_that_waited_beside_has_what_the_other_has_found_so_far_and_changes_nothing_of_it(worker):
    leader = worker.works_out()
    follower = shared(leader)
    assert follower.ranked is leader.ranked
    assert (follower.slate, follower.timing_ms, follower.why) == (None, {}, "shared")
    follower.degrade("funnel", "deadline")
    follower.below.clear()
    assert leader.degraded == []
    assert len(leader.below) == 2
