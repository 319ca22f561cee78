"""Shortlists made for a list of users: what is stored is what the funnel would answer, and no work is done twice."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.funnel.small_release import N_ITEMS, SHADES, made_parts, release_of, topic_item
from upnext.ahead.active import ActiveUser
from upnext.ahead.making import answer_of
from upnext.ahead.precompute import Precompute
from upnext.ahead.progress import Progress, digest_of, only_one, read_progress, write_progress
from upnext.catalog.catalog import Catalog
from upnext.clock import Deadline, ManualClock
from upnext.domain.event import Event
from upnext.errors import ReleaseError, StoreError, UpnextError
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live, open_live
from upnext.funnel.request import SlateRequest
from upnext.funnel.route import Route, route_of
from upnext.settings import AheadSettings, Settings
from upnext.state.apply import apply_events
from upnext.state.shortlist import Shortlist, shortlist_key
from upnext.state.user_state import UserState, state_key, vectors_key
from upnext.store.interface import Values
from upnext.store.memory_store import MemoryStore

AHEAD = AheadSettings()
UNCHANGED = Route("precomputed", "unchanged")
N_USERS = 7
USERS = [ActiveUser(f"u:{number}", 10 - number, "", number == 0) for number in range(N_USERS)]


class TroubledStore(MemoryStore):
    """Fails as often as it is told to; `before_put` runs before anything is put."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.failures = 0
        self.n_reads = 0
        self.before_put: Callable[[], None] = lambda: None

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        self.n_reads += 1
        if self.failures > 0:
            self.failures -= 1
            raise StoreError("no answer")
        return super().get_many(keys, deadline)

    def put_many(self, items: Sequence[tuple[bytes, bytes]], deadline: Deadline, *, ttl_ms: int | None = None) -> None:
        self.before_put()
        super().put_many(items, deadline, ttl_ms=ttl_ms)


class Bench:
    """A release, users with states, and runs over them."""

    def __init__(self, live: Live, path: Path, clock: ManualClock) -> None:
        self.live, self.path, self.clock = live, path, clock
        self.store = TroubledStore(clock)
        self.never = Deadline.never(clock)
        self.pauses: list[float] = []
        self._n_events = 0
        for number in range(N_USERS):
            for step in range(3):
                self.click(f"{number}", 5 * number + step)

    def click(self, user_id: str, row: int) -> None:
        self._n_events += 1
        event = Event(
            event_id=f"{self._n_events}",
            action="click",
            timestamp_ms=self.clock.now_ms(),
            user_id=user_id,
            item_id=f"{row}",
        )
        apply_events([(self._n_events, event)], self.store, self.live.stepper, Settings().state, self.never)

    def batch(self, live: Live | None = None, *, batch_users: int = 2) -> Precompute:
        return Precompute(
            live or self.live, self.store, AHEAD, self.clock, self.path, batch_users=batch_users,
            pause=self.pauses.append,
        )  # fmt: skip

    def run(self, users: Sequence[ActiveUser] = USERS, live: Live | None = None, *, batches: int = 99) -> Progress:
        """From wherever the run before left off; stopped after so many batches. One millisecond later each."""
        self.clock.advance(1)
        batch, left = self.batch(live), iter(range(batches))
        return batch.run(users, batch.begin(users, self._n_events), stop=lambda: next(left, None) is None)

    def stored(self, subject: str) -> Shortlist | None:
        return Shortlist.unpack(self.store.get_many([shortlist_key(subject)], self.never)[0])

    def made_ms(self) -> list[int | None]:
        """When each user's shortlist was made, None for none."""
        return [shortlist and shortlist.made_ms for shortlist in (self.stored(user.subject) for user in USERS)]

    def answered(self, subject: str, **request: object) -> Answer:
        """What the live funnel makes of the user now."""
        answer = Answer(self.live.funnel.popular())
        asked = SlateRequest(subject, **{"k": 10} | request)
        self.live.funnel.run(asked, answer, lambda until: self.live.view(subject, self.store, until), self.never)
        return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@pytest.fixture(scope="module")
def parts():
    """Every other item is in the region "eu" alone."""
    made = made_parts()
    made.world.catalog = Catalog.build(
        topic_item(str(row), row % 3, text=SHADES[row % 7], regions=("eu",) if row % 2 else ())
        for row in range(N_ITEMS)
    )
    return made


@pytest.fixture(scope="module")
def live(parts, folder: Path) -> Live:
    return open_live(release_of(folder / "a", parts), Settings(), parts.world.clock)


@pytest.fixture
def bench(live: Live, parts, tmp_path: Path) -> Bench:
    return Bench(live, tmp_path / "ahead" / "precompute.json", parts.world.clock)


def counts(progress: Progress) -> tuple[int, int, int]:
    return progress.made, progress.kept, progress.skipped


def test_a_slate_made_of_the_stored_shortlist_is_the_one_that_the_live_funnel_makes(bench: Bench) -> None:
    assert counts(bench.run()) == (N_USERS, 0, 0)
    slates = set()
    for user in USERS:
        stored, live = bench.stored(user.subject), bench.answered(user.subject)
        assert stored is not None
        assert (stored.release, stored.origin, stored.exit) == (bench.live.release_id, "precompute", live.exit)
        assert (stored.n_interactions, stored.head, stored.region, stored.genres) == (3, user.head, "", ())
        np.testing.assert_array_equal(stored.rows, live.ranked.rows)
        np.testing.assert_array_equal(stored.scores, live.ranked.scores)
        reused = answer_of(stored, bench.live.funnel.popular(), live.seen_rows, live.state_version, UNCHANGED)
        request = SlateRequest(user.subject, 10)
        route = route_of(
            request, stored, release=bench.live.release_id, n_moves=live.n_moves,
            now_ms=bench.clock.now_ms(), depths=bench.live.funnel.depths, settings=AHEAD,
        )  # fmt: skip
        assert route == UNCHANGED
        slate = bench.live.funnel.finish(request, reused)
        assert live.slate is not None
        assert (slate.tier, slate.rows.tolist()) == ("full", live.slate.rows.tolist())
        slates.add(tuple(slate.rows.tolist()))
    assert len(slates) > 1


def test_users_of_a_region_get_what_may_be_shown_there(bench: Bench) -> None:
    users = [replace(USERS[1], region="mars"), replace(USERS[2], region="eu")]
    bench.run(users)
    nowhere, eu = bench.stored("u:1"), bench.stored("u:2")
    assert nowhere is not None
    assert eu is not None
    assert (nowhere.region, eu.region) == ("?", "eu")
    assert not (nowhere.rows % 2).any()
    assert (eu.rows % 2).any()
    allowed = bench.live.funnel.catalog.allowed(region="mars")
    assert nowhere.rows.tolist() == bench.answered("u:1", region="?", allowed=allowed).ranked.rows.tolist()
    assert counts(bench.run([replace(users[0], region="venus"), users[1]])) == (0, 2, 0)


def test_regions_mean_nothing_where_items_have_none(bench: Bench, folder: Path) -> None:
    plain = open_live(release_of(folder / "plain", made_parts()), Settings(), bench.clock)
    bench.run([replace(USERS[1], region="eu")], live=plain)
    shortlist = bench.stored("u:1")
    assert shortlist is not None
    assert (shortlist.region, shortlist.release) == ("", plain.release_id)


def test_a_shortlist_that_holds_is_kept_for_half_its_time_and_gone_after_all_of_it(bench: Bench) -> None:
    bench.run()
    before = bench.made_ms()
    bench.clock.advance(AHEAD.precomputed_age_ms / 2 - 2)
    assert counts(bench.run()) == (0, N_USERS, 0)
    assert bench.made_ms() == before
    assert counts(bench.run()) == (N_USERS, 0, 0)
    bench.clock.advance(AHEAD.precomputed_age_ms)
    assert bench.made_ms() == [None] * N_USERS


def test_who_has_chosen_since_gets_another_shortlist_and_nobody_else(bench: Bench) -> None:
    bench.run()
    before = bench.made_ms()
    bench.click("4", 44)
    assert counts(bench.run()) == (1, N_USERS - 1, 0)
    assert [number for number, ms in enumerate(bench.made_ms()) if ms != before[number]] == [4]
    shortlist = bench.stored("u:4")
    assert shortlist is not None
    assert (shortlist.n_interactions, 44 in shortlist.rows) == (4, False)


@pytest.mark.parametrize("other", [{"region": "eu"}, {"head": True}])
def test_a_shortlist_made_for_something_else_is_made_again(bench: Bench, other: dict[str, object]) -> None:
    bench.run()
    users = [*USERS[:3], replace(USERS[3], **other), *USERS[4:]]
    assert counts(bench.run(users)) == (1, N_USERS - 1, 0)


@pytest.mark.parametrize("origin", ["live", "speculation"])
def test_what_a_request_left_is_replaced_by_what_lasts_longer(bench: Bench, origin: str) -> None:
    bench.run()
    stored = bench.stored("u:2")
    assert stored is not None
    bench.store.put_many([(shortlist_key("u:2"), replace(stored, origin=origin).pack())], bench.never)
    assert counts(bench.run()) == (1, N_USERS - 1, 0)
    remade = bench.stored("u:2")
    assert remade is not None
    assert remade.origin == "precompute"


def test_another_release_has_all_of_them_made_anew(bench: Bench, parts, folder: Path) -> None:
    bench.run()
    other = open_live(release_of(folder / "b", parts), Settings(), bench.clock)
    assert other.release_id != bench.live.release_id
    assert counts(bench.run(live=other)) == (N_USERS, 0, 0)


def test_a_run_stopped_between_batches_goes_on_with_exactly_the_missing_ones(bench: Bench) -> None:
    stopped = bench.run(batches=2)
    assert (stopped.position, counts(stopped)) == (4, (4, 0, 0))
    first_ms = bench.clock.now_ms()
    assert bench.made_ms() == [first_ms] * 4 + [None] * 3
    assert read_progress(bench.path) == stopped
    done = bench.run()
    assert (done.position, counts(done), done.started_ms) == (N_USERS, (N_USERS, 0, 0), first_ms)
    assert bench.made_ms() == [first_ms] * 4 + [first_ms + 1] * 3
    assert not bench.path.exists()


def test_a_run_killed_before_a_batch_was_stored_makes_that_batch_again(bench: Bench) -> None:
    def kill() -> None:
        if bench.stored("u:3") is not None:
            raise SystemExit

    bench.store.before_put = kill
    with pytest.raises(SystemExit):
        bench.run()
    first_ms = bench.clock.now_ms()
    assert bench.made_ms() == [first_ms] * 4 + [None] * 3
    bench.store.before_put = lambda: None
    assert counts(bench.run()) == (N_USERS, 0, 0)
    assert bench.made_ms() == [first_ms] * 4 + [first_ms + 1] * 3


def test_a_run_killed_before_a_batch_was_noted_keeps_what_it_stored(bench: Bench) -> None:
    noted = bench.run(batches=2)
    bench.run()
    write_progress(bench.path, replace_position(noted, 2))
    before = bench.made_ms()
    assert bench.run().kept == N_USERS - 2
    assert bench.made_ms() == before


def replace_position(progress: Progress, position: int) -> Progress:
    return Progress(
        release=progress.release, log_sequence=progress.log_sequence, users=progress.users,
        started_ms=progress.started_ms, position=position,
    )  # fmt: skip


def test_what_was_left_off_is_not_taken_up_for_other_users_or_by_another_release(
    bench: Bench, parts, folder: Path
) -> None:
    bench.run(batches=2)
    batch = bench.batch()
    assert batch.begin(USERS, 99).position == 4
    assert batch.begin(USERS, 99).log_sequence == bench._n_events
    assert batch.begin(USERS[:-1], 99).position == 0
    assert batch.begin([replace(USERS[0], region="eu"), *USERS[1:]], 99).position == 0
    other = open_live(release_of(folder / "c", parts), Settings(), bench.clock)
    assert bench.batch(other).begin(USERS, 99).position == 0
    bench.clock.advance(AHEAD.precomputed_age_ms / 2)
    assert batch.begin(USERS, 99).position == 0


def test_users_without_a_state_that_can_be_read_are_skipped(bench: Bench) -> None:
    assert bench.live.stepper is not None
    encoders = bench.live.stepper.encoders
    bench.store.delete_many([state_key("u:1")], bench.never)
    damaged = [
        (state_key("u:2"), UserState(applied_sequence=9).pack()),  # the mark of one who was forgotten
        (state_key("u:3"), b"?"),
        (vectors_key(encoders, "u:4"), b"?"),
    ]
    bench.store.put_many(damaged, bench.never)
    assert counts(bench.run()) == (N_USERS - 4, 0, 4)
    assert [ms is not None for ms in bench.made_ms()] == [True, False, False, False, False, True, True]
    assert bench.pauses == []


def test_who_is_forgotten_while_their_shortlist_is_made_has_none_afterwards(bench: Bench) -> None:
    def forget() -> None:
        bench.store.before_put = lambda: None
        mark = UserState(applied_sequence=9).pack()
        bench.store.put_many([(state_key("u:1"), mark)], bench.never)
        bench.store.delete_many([shortlist_key("u:1")], bench.never)

    bench.store.before_put = forget
    assert counts(bench.run()) == (N_USERS - 1, 0, 1)
    assert [ms is not None for ms in bench.made_ms()] == [True, False, *[True] * 5]


def test_a_store_that_is_away_for_a_while_is_waited_for(bench: Bench) -> None:
    bench.store.failures = 3
    assert counts(bench.run()) == (N_USERS, 0, 0)
    assert bench.pauses == [0.2, 1.0, 5.0]


def test_a_user_is_not_skipped_because_the_store_was_away_while_they_were_read(bench: Bench) -> None:
    batch = bench.batch()
    reads_of_a_batch = 2
    original, bench.store.n_reads = bench.store.get_many, 0

    def get_many(keys: Sequence[bytes], deadline: Deadline) -> Values:
        if bench.store.n_reads == reads_of_a_batch:
            bench.store.failures = 2
        return original(keys, deadline)

    bench.store.get_many = get_many  # type: ignore[method-assign]
    progress = batch.run(USERS, batch.begin(USERS, 1))
    assert counts(progress) == (N_USERS, 0, 0)
    assert bench.pauses == [0.2]


def test_a_store_that_stays_away_ends_the_run_with_what_to_do_and_what_was_done_stays(bench: Bench) -> None:
    stopped = bench.run(batches=2)
    bench.store.failures = 1_000
    with pytest.raises(StoreError, match=r"tried 4 times .* \(no answer\).*start `upnext precompute` again"):
        bench.run()
    assert bench.pauses == [0.2, 1.0, 5.0]
    assert read_progress(bench.path) == stopped
    bench.store.failures = 0
    assert counts(bench.run()) == (N_USERS, 0, 0)


def test_a_release_without_a_ranker_is_refused(bench: Bench, parts, folder: Path) -> None:
    release = release_of(folder / "d", parts, without=("ranker.exits",))
    with pytest.raises(ReleaseError, match="has no ranker"):
        bench.batch(open_live(release, Settings(), bench.clock))


def test_progress_that_is_absent_or_damaged_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ahead" / "precompute.json"
    assert read_progress(path) is None
    progress = Progress(release="r", log_sequence=3, users=digest_of(USERS), started_ms=5)
    write_progress(path, progress)
    assert read_progress(path) == progress
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    path.write_bytes(path.read_bytes()[:-4])
    assert read_progress(path) is None


def test_lists_of_users_that_differ_in_anything_that_is_asked_for_have_names_of_their_own() -> None:
    lists = [
        USERS,
        USERS[:-1],
        USERS[::-1],
        [replace(USERS[0], region="eu"), *USERS[1:]],
        [replace(USERS[0], head=False), *USERS[1:]],
    ]
    assert len({digest_of(each) for each in lists}) == len(lists)
    assert digest_of([replace(USERS[0], n_events=1), *USERS[1:]]) == digest_of(USERS)


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "ahead" / "precompute.lock"
    with only_one(path), pytest.raises(UpnextError, match=r"already .*precompute\.lock is locked"), only_one(path):
        pass
    with only_one(path):
        pass
