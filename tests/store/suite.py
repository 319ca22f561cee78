"""What every store promises, attacked; an implementation joins by giving the `store` fixture."""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.settings import StoreSettings
from upnext.store.interface import Store, Values
from upnext.store.opening import open_store

NEVER = Deadline.never(SystemClock())
PASSED = Deadline(SystemClock(), 0.0)
# Every example empties the store it is given, and nothing is replayed from a database.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
KEYS = [b"a/u", b"ab/u", b"b/u", b"\x00/u", b"\xff" * 509 + b"/u"]  # of one tag, so that they may change together
COUNTER = Path(__file__).with_name("counting_process.py")

Step = tuple[str, list[bytes], list[bytes | None], int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put_ttl", "delete", "update", "swap", "cas", "advance"]),
        st.lists(st.sampled_from(KEYS), min_size=1, max_size=4),
        st.lists(st.none() | st.binary(max_size=20), min_size=4, max_size=4),
        st.integers(0, 30),
    ),
    max_size=20,
)


def count_up(number: int, values: Values) -> list[bytes]:
    return [b"%d" % (int(value or b"0") + 1) for value in values]


def with_threads(work: Callable[[int], object], threads: int = 4) -> None:
    """Runs `work(number)` in each thread, all started at once; an error in one is raised here."""
    barrier = threading.Barrier(threads)

    def started_together(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(started_together, range(threads)))


class StoreSuite:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> Store:
        raise NotImplementedError

    def test_values_come_back_in_the_order_of_the_keys_and_none_where_absent(self, store: Store) -> None:
        store.put_many([(b"a", b"1"), (b"b", b"")], NEVER)
        assert store.get_many([b"b", b"x", b"a", b"a"], NEVER) == [b"", None, b"1", b"1"]

    def test_a_later_put_replaces_and_the_last_of_one_call_wins(self, store: Store) -> None:
        store.put_many([(b"a", b"1")], NEVER)
        store.put_many([(b"a", b"2"), (b"a", b"3")], NEVER)
        assert store.get_many([b"a"], NEVER) == [b"3"]

    def test_the_longest_key_and_the_largest_value_are_kept_whole(self, store: Store) -> None:
        key, value = b"\xff" * 511, bytes(range(256)) * (16 * 1024 * 1024 // 256)
        store.put_many([(key, value)], NEVER)
        assert store.get_many([key], NEVER) == [value]
        assert list(store.scan(b"\xff")) == [(key, value)]

    @pytest.mark.parametrize("key", [b"", b"k" * 512])
    def test_a_key_out_of_bounds_is_refused_everywhere(self, store: Store, key: bytes) -> None:
        with pytest.raises(StoreError, match="511"):
            store.get_many([key], NEVER)
        with pytest.raises(StoreError, match="511"):
            store.put_many([(b"a", b"1"), (key, b"1")], NEVER)
        with pytest.raises(StoreError, match="511"):
            store.delete_many([key], NEVER)
        with pytest.raises(StoreError, match="511"):
            store.update([[key]], count_up, NEVER)
        with pytest.raises(StoreError, match="511"):
            store.swap_many([[key]], [[None]], [[b"1"]], NEVER)
        with pytest.raises(StoreError, match="511"):
            store.compare_and_set(key, None, b"1", NEVER)
        assert list(store.scan(b"")) == []

    def test_a_value_of_more_than_16_mib_is_refused_and_nothing_of_the_call_is_written(self, store: Store) -> None:
        huge = bytes(16 * 1024 * 1024 + 1)
        with pytest.raises(StoreError, match="16777216"):
            store.put_many([(b"a", b"1"), (b"b", huge)], NEVER)
        with pytest.raises(StoreError, match="16777216"):
            store.update([[b"a/u", b"b/u"]], lambda number, values: [b"1", huge], NEVER)
        with pytest.raises(StoreError, match="16777216"):
            store.swap_many([[b"a/u", b"b/u"]], [[None, None]], [[b"1", huge]], NEVER)
        assert list(store.scan(b"")) == []

    def test_a_group_whose_keys_differ_after_the_last_slash_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="last slash"):
            store.update([[b"a/u"], [b"a/u/v", b"b/u/w"]], lambda number, values: [b"1"] * len(values), NEVER)
        with pytest.raises(StoreError, match="last slash"):
            store.swap_many([[b"a/u"], [b"a", b"b"]], [[None], [None, None]], [[b"1"], [b"1", b"1"]], NEVER)
        assert list(store.scan(b"")) == []

    def test_deleting_says_how_many_had_been_there(self, store: Store, clock: ManualClock) -> None:
        store.put_many([(b"a", b"1"), (b"b", b"")], NEVER)
        store.put_many([(b"old", b"1")], NEVER, ttl_ms=5)
        clock.advance(5)
        assert store.delete_many([b"a", b"x", b"b", b"a", b"old"], NEVER) == 2
        assert list(store.scan(b"")) == []

    def test_a_value_is_there_until_its_span_has_passed_and_absent_from_then_on(
        self, store: Store, clock: ManualClock
    ) -> None:
        store.put_many([(b"a", b"1"), (b"b", b"2")], NEVER, ttl_ms=10)
        store.put_many([(b"c", b"3")], NEVER)
        clock.advance(9)
        assert store.get_many([b"a", b"b", b"c"], NEVER) == [b"1", b"2", b"3"]
        clock.advance(1)
        assert store.get_many([b"a", b"b", b"c"], NEVER) == [None, None, b"3"]
        assert list(store.scan(b"")) == [(b"c", b"3")]

    def test_a_value_put_again_forgets_its_old_span(self, store: Store, clock: ManualClock) -> None:
        keys = [b"a", b"b", b"c", b"d", b"e"]
        store.put_many([(key, b"1") for key in keys], NEVER, ttl_ms=10)
        store.put_many([(b"a", b"2")], NEVER)
        store.put_many([(b"b", b"2")], NEVER, ttl_ms=20)
        store.update([[b"c"]], count_up, NEVER)
        assert store.compare_and_set(b"d", b"1", b"2", NEVER)
        store.update([[b"e"]], lambda number, values: values, NEVER)
        clock.advance(10)
        store.put_many([(b"other", b"")], NEVER)  # a write, in case it sweeps
        assert store.get_many(keys, NEVER) == [b"2", b"2", b"2", b"2", b"1"]
        clock.advance(10)
        assert store.get_many(keys, NEVER) == [b"2", None, b"2", b"2", b"1"]

    def test_a_negative_span_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="ttl_ms"):
            store.put_many([(b"a", b"1")], NEVER, ttl_ms=-1)

    def test_an_expired_value_is_absent_for_update_and_compare_and_set(self, store: Store, clock: ManualClock) -> None:
        store.put_many([(b"a", b"41"), (b"b", b"1")], NEVER, ttl_ms=10)
        clock.advance(10)
        store.update([[b"a"]], count_up, NEVER)
        assert not store.compare_and_set(b"b", b"1", b"2", NEVER)
        assert store.compare_and_set(b"b", None, b"2", NEVER)
        assert store.get_many([b"a", b"b"], NEVER) == [b"1", b"2"]

    def test_update_is_given_each_group_with_its_number_and_none_where_absent(self, store: Store) -> None:
        store.put_many([(b"a/u", b"1"), (b"b", b"2")], NEVER)
        seen: dict[int, Values] = {}

        def change(number: int, values: Values) -> Sequence[bytes | None]:
            seen[number] = list(values)
            return [None, b"new"] if number == 0 else [b"c"]

        store.update([[b"a/u", b"x/u"], [b"b"]], change, NEVER)
        assert seen == {0: [b"1", None], 1: [b"2"]}
        assert list(store.scan(b"")) == [(b"b", b"c"), (b"x/u", b"new")]

    def test_a_later_group_sees_what_an_earlier_one_wrote_under_the_same_key(self, store: Store) -> None:
        store.update([[b"a"], [b"a"], [b"a"]], count_up, NEVER)
        assert store.get_many([b"a"], NEVER) == [b"3"]

    def test_a_change_that_raises_writes_nothing_of_its_group_and_the_error_passes_through(self, store: Store) -> None:
        store.put_many([(b"a/u", b"1")], NEVER)

        def change(number: int, values: Values) -> list[bytes]:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            store.update([[b"a/u", b"b/u"]], change, NEVER)
        assert list(store.scan(b"")) == [(b"a/u", b"1")]
        store.put_many([(b"a/u", b"2")], NEVER)  # nothing is left locked

    def test_a_change_must_return_one_value_per_key(self, store: Store) -> None:
        with pytest.raises(StoreError, match="1 values for a group of 2 keys"):
            store.update([[b"a/u", b"b/u"]], lambda number, values: [b"1"], NEVER)
        assert list(store.scan(b"")) == []

    def test_no_update_of_many_threads_is_lost_and_no_group_is_seen_half_done(self, store: Store) -> None:
        torn = []

        def work(number: int) -> None:
            for _ in range(50):
                store.update([[b"a/u", b"b/u"], [b"c%d" % number]], count_up, NEVER)
                left, right = store.get_many([b"a/u", b"b/u"], NEVER)
                if left != right:
                    torn.append((left, right))

        with_threads(work)
        assert store.get_many([b"a/u", b"b/u", b"c0", b"c3"], NEVER) == [b"200", b"200", b"50", b"50"]
        assert torn == []

    def test_of_many_threads_exactly_one_wins_each_compare_and_set(self, store: Store) -> None:
        wins: list[int] = []

        def work(number: int) -> None:
            for turn in range(50):
                expected = b"%d" % (turn - 1) if turn else None
                while not store.compare_and_set(b"a", expected, b"%d" % turn, NEVER):
                    (now,) = store.get_many([b"a"], NEVER)
                    if now is not None and int(now) >= turn:
                        break
                else:
                    wins.append(turn)

        with_threads(work)
        assert sorted(wins) == list(range(50))

    def test_of_several_groups_those_are_swapped_that_hold_what_is_expected_under_all_keys(self, store: Store) -> None:
        store.put_many([(b"a/u", b"1"), (b"b/u", b"2"), (b"a/v", b"1"), (b"b/v", b"2"), (b"a/w", b"")], NEVER)
        groups = [[b"a/u", b"b/u"], [b"a/v", b"b/v"], [b"a/w"], [b"b/w", b"a/w"], [b"new"], [b"none"]]
        expected: list[Values] = [[b"1", b"2"], [b"1", b"3"], [None], [None, b""], [None], [b"x"]]
        values = [[b"3", None], [b"4", b"4"], [b"4"], [b"5", b"6"], [b"7"], [b"8"]]
        assert store.swap_many(groups, expected, values, NEVER) == [True, False, False, True, True, False]
        left = {b"a/u": b"3", b"a/v": b"1", b"b/v": b"2", b"a/w": b"6", b"b/w": b"5", b"new": b"7"}
        assert dict(store.scan(b"")) == left

    def test_groups_that_share_a_key_are_swapped_one_after_the_other(self, store: Store) -> None:
        expected: list[Values] = [[None], [b"1"], [b"1"]]
        assert store.swap_many([[b"a"]] * 3, expected, [[b"1"], [b"2"], [b"3"]], NEVER) == [True, True, False]
        assert store.get_many([b"a"], NEVER) == [b"2"]

    def test_a_swap_without_one_expected_and_one_new_value_per_key_is_refused(self, store: Store) -> None:
        shapes: list[tuple[list[Values], list[Values]]] = [
            ([[None]], [[b"1", b"1"]]),
            ([[None, None]], [[b"1"]]),
            ([], [[b"1", b"1"]]),
            ([[None, None]], []),
        ]
        for expected, values in shapes:
            with pytest.raises(StoreError, match="one expected and one new"):
                store.swap_many([[b"a/u", b"b/u"]], expected, values, NEVER)
        assert list(store.scan(b"")) == []

    def test_a_swap_judges_a_value_by_its_span_and_drops_the_span(self, store: Store, clock: ManualClock) -> None:
        store.put_many([(b"a/u", b"1"), (b"b/u", b"2")], NEVER, ttl_ms=10)
        assert store.swap_many([[b"a/u"]], [[b"1"]], [[b"3"]], NEVER) == [True]
        assert store.swap_many([[b"b/u"]], [[None]], [[b"3"]], NEVER) == [False]
        clock.advance(10)
        assert store.swap_many([[b"b/u"]], [[b"2"]], [[b"3"]], NEVER) == [False]
        assert store.swap_many([[b"a/u", b"b/u"]], [[b"3", None]], [[b"4", b"4"]], NEVER) == [True]
        clock.advance(10)
        assert store.get_many([b"a/u", b"b/u"], NEVER) == [b"4", b"4"]

    def test_of_many_threads_exactly_one_wins_each_swap_and_no_group_is_half_done(self, store: Store) -> None:
        wins: list[int] = []
        torn = []

        def work(number: int) -> None:
            turn = 0
            while turn < 50:
                now = store.get_many([b"a/u", b"b/u"], NEVER)
                if now[0] != now[1]:
                    torn.append(now)
                turn = int(now[0] or b"0") + 1
                if turn <= 50 and store.swap_many([[b"a/u", b"b/u"]], [now], [[b"%d" % turn] * 2], NEVER) == [True]:
                    wins.append(turn)

        with_threads(work)
        assert sorted(wins) == list(range(1, 51))
        assert torn == []

    def test_compare_and_set_deletes_with_none_and_says_whether_it_did(self, store: Store) -> None:
        assert store.compare_and_set(b"a", None, b"1", NEVER)
        assert not store.compare_and_set(b"a", None, b"2", NEVER)
        assert not store.compare_and_set(b"a", b"2", None, NEVER)
        assert store.get_many([b"a"], NEVER) == [b"1"]
        assert store.compare_and_set(b"a", b"1", None, NEVER)
        assert store.get_many([b"a"], NEVER) == [None]
        assert store.compare_and_set(b"a", None, None, NEVER)

    def test_scan_gives_the_prefix_in_byte_order_with_values(self, store: Store) -> None:
        store.put_many([(key, key[::-1]) for key in (b"b", b"ab", b"a", b"a\xff", b"\xff\xff", b"a\x00")], NEVER)
        assert list(store.scan(b"a")) == [(b"a", b"a"), (b"a\x00", b"\x00a"), (b"ab", b"ba"), (b"a\xff", b"\xffa")]
        assert [key for key, _ in store.scan(b"\xff")] == [b"\xff\xff"]
        assert [key for key, _ in store.scan(b"")] == [b"a", b"a\x00", b"ab", b"a\xff", b"b", b"\xff\xff"]
        assert list(store.scan(b"zz")) == []

    def test_scan_gives_every_other_key_exactly_once_while_keys_are_written_and_deleted(self, store: Store) -> None:
        store.put_many([(b"k%05d" % number, b"v") for number in range(3000)], NEVER)
        seen = []
        for number, (key, _) in enumerate(store.scan(b"k")):
            seen.append(key)
            if number % 100 == 0:
                store.put_many([(b"k%05d+" % (2 * number), b"new")], NEVER)
                store.delete_many([b"k%05d" % (number + 1501)], NEVER)
        deleted = {b"k%05d" % (number + 1501) for number in range(0, len(seen), 100)}
        kept = [key for key in seen if not key.endswith(b"+") and key not in deleted]
        assert kept == [key for key in (b"k%05d" % number for number in range(3000)) if key not in deleted]

    def test_a_passed_deadline_raises_store_timeout_and_has_no_effect(self, store: Store) -> None:
        store.put_many([(b"a", b"1")], NEVER)
        calls: list[Callable[[], object]] = [
            lambda: store.get_many([b"a"], PASSED),
            lambda: store.put_many([(b"a", b"2"), (b"b", b"2")], PASSED),
            lambda: store.delete_many([b"a"], PASSED),
            lambda: store.update([[b"a"]], count_up, PASSED),
            lambda: store.swap_many([[b"a"]], [[b"1"]], [[b"2"]], PASSED),
            lambda: store.compare_and_set(b"a", b"1", b"2", PASSED),
        ]
        for call in calls:
            with pytest.raises(StoreTimeout):
                call()
        assert list(store.scan(b"")) == [(b"a", b"1")]

    def test_a_closed_store_refuses_every_call_and_closing_twice_is_fine(self, store: Store) -> None:
        store.put_many([(b"a", b"1")], NEVER)
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.get_many([b"a"], NEVER),
            lambda: store.put_many([(b"a", b"2")], NEVER),
            lambda: store.delete_many([b"a"], NEVER),
            lambda: store.update([[b"a"]], count_up, NEVER),
            lambda: store.swap_many([[b"a"]], [[b"1"]], [[b"2"]], NEVER),
            lambda: store.compare_and_set(b"a", b"1", b"2", NEVER),
            lambda: list(store.scan(b"")),
        ]
        for call in calls:
            with pytest.raises(StoreError, match="closed"):
                call()

    def test_empty_calls_do_nothing(self, store: Store) -> None:
        assert store.get_many([], NEVER) == []
        store.put_many([], NEVER)
        assert store.delete_many([], NEVER) == 0
        store.update([], count_up, NEVER)
        store.update([[]], lambda number, values: [], NEVER)
        assert store.swap_many([], [], [], NEVER) == []
        assert store.swap_many([[]], [[]], [[]], NEVER) == [True]
        assert list(store.scan(b"")) == []

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=SHARED)
    @given(steps=steps)
    def test_any_sequence_of_calls_leaves_what_a_dictionary_would_hold(
        self, store: Store, clock: ManualClock, steps: list[Step]
    ) -> None:
        store.delete_many([key for key, _ in store.scan(b"")], NEVER)
        model: dict[bytes, tuple[bytes, float]] = {}
        for step in steps:
            model = {key: entry for key, entry in model.items() if entry[1] > clock.now_ms()}
            _play(step, store, clock, model)
            live = {key: value for key, (value, until_ms) in model.items() if until_ms > clock.now_ms()}
            assert dict(store.scan(b"")) == live
            assert store.get_many(KEYS, NEVER) == [live.get(key) for key in KEYS]


class WaitingStoreSuite(StoreSuite):
    """For stores whose writers wait for one another."""

    def test_a_writer_held_up_by_another_past_its_deadline_times_out_and_has_no_effect(self, store: Store) -> None:
        inside, done = threading.Event(), threading.Event()

        def slow(number: int, values: Values) -> list[bytes]:
            inside.set()
            done.wait(20)
            return [b"slow"]

        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(store.update, [[b"a"]], slow, NEVER)
            try:
                assert inside.wait(20)
                with pytest.raises(StoreTimeout):
                    store.put_many([(b"a", b"fast"), (b"b", b"fast")], Deadline.after(SystemClock(), 20))
                assert not other.done()
            finally:
                done.set()
            other.result()
        assert list(store.scan(b"")) == [(b"a", b"slow")]


class ProcessSuite:
    """For stores that several processes share: give `home` and `url`, as `open_store` takes them."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "home"

    @pytest.fixture
    def url(self) -> str:
        return ""

    def test_two_processes_counting_at_once_lose_no_step(self, home: Path, url: str) -> None:
        prefix = home.parent.name
        command = [sys.executable, str(COUNTER), str(home), url, prefix, "80"]
        workers = [subprocess.Popen(command) for _ in range(2)]
        assert [worker.wait(60) for worker in workers] == [0, 0]
        store = open_store(home, StoreSettings(url=url, prefix=prefix, timeout_ms=20_000), SystemClock())
        assert store.get_many([b"updated/u", b"twin/u", b"swapped"], NEVER) == [b"160"] * 3
        store.delete_many([b"updated/u", b"twin/u", b"swapped"], NEVER)
        store.close()


def _play(step: Step, store: Store, clock: ManualClock, model: dict[bytes, tuple[bytes, float]]) -> None:
    """One call on the store and the same on the model (key -> value, moment from which it is absent)."""
    call, keys, values, span_ms = step
    keys = list(dict.fromkeys(keys)) if call == "update" else keys
    items = [(key, value or b"") for key, value in zip(keys, values, strict=False)]
    if call == "advance":
        clock.advance(span_ms)
    elif call in ("put", "put_ttl"):
        store.put_many(items, NEVER, ttl_ms=span_ms if call == "put_ttl" else None)
        until_ms = clock.now_ms() + span_ms if call == "put_ttl" else float("inf")
        model.update((key, (value, until_ms)) for key, value in items)
    elif call == "delete":
        assert store.delete_many(keys, NEVER) == sum(model.pop(key, None) is not None for key in keys)
    elif call == "update":
        store.update([keys], lambda number, old: values[: len(old)], NEVER)
        for key, value in zip(keys, values, strict=False):
            _set(model, key, value)
    elif call == "swap":
        groups = [group for group in (list(dict.fromkeys(keys))[:1], list(dict.fromkeys(keys))[1:]) if group]
        current = [[model[key][0] if key in model else None for key in group] for group in groups]
        expected = [old if span_ms % 3 else [None] * len(old) for old in current]
        new = [values[: len(group)] for group in groups]
        matches = [old == wanted for old, wanted in zip(current, expected, strict=True)]
        assert store.swap_many(groups, expected, new, NEVER) == matches
        for group, put, done in zip(groups, new, matches, strict=True):
            for key, value in zip(group, put, strict=True):
                if done:
                    _set(model, key, value)
    elif call == "cas":
        there = model[keys[0]][0] if keys[0] in model else None
        swapped = there == values[0]
        assert store.compare_and_set(keys[0], values[0], values[1], NEVER) == swapped
        assert store.compare_and_set(keys[0], values[1] if swapped else there, values[2], NEVER)
        _set(model, keys[0], values[2])


def _set(model: dict[bytes, tuple[bytes, float]], key: bytes, value: bytes | None) -> None:
    if value is None:
        model.pop(key, None)
    else:
        model[key] = (value, float("inf"))
