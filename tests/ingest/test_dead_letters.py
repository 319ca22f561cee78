"""The dead-letter queue keeps bytes unchanged, within its bounds, with exact counts, whoever else is at it."""

import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tests.ingest.dead_lettering import NOW_MS, letter, queue
from upnext.clock import ManualClock
from upnext.errors import StoreError
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import DeadLetter, Selection, encode, view

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = "tests.ingest.dead_letters_worker"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deadletters"


@pytest.fixture
def letters(folder: Path) -> Iterator[DeadLetters]:
    opened = queue(folder)
    yield opened
    opened.close()


def raws(letters: DeadLetters) -> list[bytes]:
    return [each.raw for each in letters.select(Selection())]


def assert_totals_agree(letters: DeadLetters) -> None:
    """The kept counts are those that counting everything gives."""
    totals, waiting = letters.totals(), list(letters.select(Selection()))
    assert totals.waiting == len(waiting)
    assert totals.waiting_bytes == sum(len(encode(each)) for each in waiting)
    assert totals.by_reason == dict(Counter(each.reason for each in waiting))


def stored_bytes(number: int) -> int:
    """Of a letter of the tests with ten bytes."""
    return len(encode(letter(b"0123456789", number=number)))


def test_a_letter_comes_back_as_it_was_with_every_field_and_its_number(letters: DeadLetters) -> None:
    full = DeadLetter(
        kind="item",
        raw=b'\xc3\x01\x00not {"json\xff',
        content_type="avro/binary",
        reason="unknown_schema",
        path="$.price",
        message="say what to do",
        schema="item:3",
        producer="feed",
        received_ms=NOW_MS - 5,
        gate="7",
    )
    assert letters.append([full, letter(b"[")]) == [1, 2]
    assert letters.append([letter(b"]")]) == [3]
    assert letters.get(1) == msgspec.structs.replace(full, number=1)
    assert raws(letters) == [full.raw, b"[", b"]"]
    assert letters.append([]) == []


@pytest.mark.parametrize("number", [0, -1, 4, 2**63, 2**70])
def test_there_is_no_letter_under_a_number_that_was_not_given_out(letters: DeadLetters, number: int) -> None:
    letters.append([letter()] * 3)
    assert letters.get(number) is None
    assert list(letters.select(Selection(numbers=[number, 2]))) == [letters.get(2)]


def test_a_page_starts_after_a_number_stops_at_its_limit_and_keeps_to_what_is_asked_for(letters: DeadLetters) -> None:
    reasons, producers, kinds = ("a", "b"), ("x", "y", "z"), ("event", "item", "user")
    letters.append(
        [letter(reason=reasons[n % 2], producer=producers[n % 3], kind=kinds[n // 4 % 3]) for n in range(1, 1_301)]
    )
    assert [each.number for each in letters.page()] == list(range(1, 101))
    assert [each.number for each in letters.page(after=1_297, limit=10)] == [1_298, 1_299, 1_300]
    assert [each.number for each in letters.page(limit=3, reason="b")] == [1, 3, 5]
    assert [each.number for each in letters.page(limit=3, producer="x")] == [3, 6, 9]
    assert [each.number for each in letters.page(limit=3, kind="user")] == [8, 9, 10]
    assert [each.number for each in letters.page(after=1_250, reason="a", producer="y", kind="event")] == [
        n for n in range(1_251, 1_301) if n % 2 == 0 and n % 3 == 1 and n // 4 % 3 == 0
    ]
    assert letters.page(limit=0) == []
    assert letters.page(after=1_300) == []


def test_letters_are_chosen_by_numbers_and_between_numbers(letters: DeadLetters) -> None:
    letters.append([letter()] * 6)
    chosen = letters.select(Selection(numbers=(5, 1, 2, 4, 2), after=1, before=5))
    assert [each.number for each in chosen] == [2, 4]
    assert [each.number for each in letters.select(Selection(after=2, before=5))] == [3, 4]
    assert list(letters.select(Selection(numbers=()))) == []


def test_removed_letters_are_gone_and_their_numbers_are_never_given_out_again(folder: Path) -> None:
    letters = queue(folder)
    letters.append([letter(), letter(), letter()])
    assert letters.remove([2, 3, 3, 99]) == 2
    assert letters.remove([]) == 0
    assert letters.get(3) is None
    assert letters.remove([1]) == 1
    letters.close()
    letters = queue(folder)
    assert letters.append([letter()]) == [4]
    totals = letters.totals()
    assert (totals.removed, totals.waiting, totals.last) == (3, 1, 4)
    assert_totals_agree(letters)
    letters.close()


def test_bytes_withheld_for_want_of_consent_are_counted_and_not_kept(letters: DeadLetters) -> None:
    assert letters.append([letter(b"a"), letter(b""), letter(b"b")]) == [1, None, 2]
    assert (letters.totals().withheld, letters.totals().waiting) == (1, 2)
    assert_totals_agree(letters)


def test_past_its_size_the_queue_drops_the_oldest_and_counts_them(folder: Path) -> None:
    room = sum(stored_bytes(number) for number in range(21, 31))
    letters = queue(folder, max_bytes=room)
    for start in range(0, 30, 3):
        letters.append([letter(b"0123456789") for _ in range(start, start + 3)])
    assert [each.number for each in letters.page()] == list(range(21, 31))
    assert (letters.totals().dropped_by_size, letters.totals().waiting_bytes) == (20, room)
    letters.append([letter(b"012345678")])  # a byte less than what makes room for it
    assert [each.number for each in letters.page()] == list(range(22, 32))
    assert_totals_agree(letters)
    letters.close()


def test_a_letter_larger_than_the_queue_is_dropped_at_once_and_the_others_stay(folder: Path) -> None:
    size_bytes = len(encode(letter(b"x" * 1_000, number=2)))
    letters = queue(folder, max_bytes=size_bytes)
    assert letters.append([letter(b"kept"), letter(b"x" * 1_001)]) == [1, None]
    assert raws(letters) == [b"kept"]
    assert letters.totals().dropped_by_size == 1
    assert letters.append([letter(b"x" * 1_000)]) == [2]  # exactly as large as the queue: it has it alone
    assert letters.page()[0].raw == b"x" * 1_000
    assert letters.totals().dropped_by_size == 2
    letters.close()


def test_letters_past_their_age_are_dropped_whatever_the_order_they_came_in(folder: Path) -> None:
    clock = ManualClock(NOW_MS)
    letters = queue(folder, clock, max_age_ms=1_000)
    letters.append([letter(b"new", received_ms=NOW_MS), letter(b"old", received_ms=NOW_MS - 500)])
    letters.append([letter(b"newest", received_ms=NOW_MS + 400), letter(b"old too", received_ms=NOW_MS - 500)])
    clock.advance(500)
    assert letters.trim() == 0  # of exactly that age
    letters.append([letter(b"", received_ms=clock.now_ms())])
    assert letters.totals().dropped_by_age == 0
    clock.advance(1)
    letters.append([letter(b"next", received_ms=clock.now_ms())])
    assert raws(letters) == [b"new", b"newest", b"next"]
    clock.advance(500)
    assert letters.trim() == 1
    assert raws(letters) == [b"newest", b"next"]
    assert letters.totals().dropped_by_age == 3
    assert letters.totals().dropped_by_size == 0
    assert_totals_agree(letters)
    letters.close()


def test_one_append_drops_few_of_many_old_letters_and_opening_the_queue_drops_them_all(folder: Path) -> None:
    clock = ManualClock(NOW_MS)
    letters = queue(folder, clock)
    letters.append([letter()] * 5_000)
    clock.advance(31 * 86_400_000)
    letters.append([letter(received_ms=clock.now_ms())])
    assert 4_000 < letters.totals().waiting < 5_000
    letters.close()
    letters = queue(folder, clock)
    assert [each.number for each in letters.page()] == [5_001]
    assert letters.totals().dropped_by_age == 5_000
    letters.close()


def test_counts_survive_a_restart_and_a_smaller_bound_is_kept_from_the_start(folder: Path) -> None:
    letters = queue(folder, max_bytes=100 * stored_bytes(100))
    letters.append([letter(b"0123456789")] * 120)
    letters.append([letter(b"")])
    before = letters.totals()
    assert before.dropped_by_size == 20
    first_id = letters.id
    letters.close()
    letters = queue(folder, max_bytes=100 * stored_bytes(100))
    assert letters.totals() == before
    assert letters.id == first_id
    letters.close()
    letters = queue(folder, max_bytes=3 * stored_bytes(100))
    assert [each.number for each in letters.page()] == [118, 119, 120]
    assert letters.totals().dropped_by_size == 117
    letters.close()


def test_two_queues_have_different_ids(tmp_path: Path) -> None:
    first, second = queue(tmp_path / "a"), queue(tmp_path / "b")
    assert len({first.id, second.id}) == 2
    assert len(first.id) == 16
    first.close()
    second.close()


def test_two_that_make_a_queue_at_once_agree_on_its_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faster: list[DeadLetters] = []

    def late_id(n_bytes: int) -> str:
        monkeypatch.undo()
        faster.append(queue(folder))  # after the slower one has looked, before it writes
        return "0" * 2 * n_bytes

    monkeypatch.setattr("secrets.token_hex", late_id)
    slower = queue(folder)
    assert slower.id == faster[0].id != "0" * 16
    slower.close()
    faster[0].close()


def test_a_settled_letter_is_gone_or_says_what_is_wrong_with_it_now(letters: DeadLetters) -> None:
    letters.append([letter(b"a"), letter(b"b"), letter(b"c d"), letter(b"e")])
    stays = msgspec.structs.replace(letters.page()[1], reason="text_too_long", message="longer than before", gate="2")
    parts = [letter(b"c", reason="empty_id"), letter(b"d")]
    assert letters.settle({1: [], 2: [stays], 3: parts}) == 2
    assert raws(letters) == [b"b", b"e", b"c", b"d"]
    assert letters.get(2) == stays
    assert [each.number for each in letters.page()] == [2, 4, 5, 6]
    assert (letters.totals().replayed, letters.totals().last) == (2, 6)
    assert letters.totals().by_reason == {"text_too_long": 1, "wrong_type": 2, "empty_id": 1}
    assert letters.settle({}) == 0
    assert_totals_agree(letters)


def test_a_settled_letter_that_says_more_than_before_makes_the_oldest_go_when_there_is_no_room(folder: Path) -> None:
    room = sum(stored_bytes(number) for number in (1, 2, 3))
    letters = queue(folder, max_bytes=room)
    letters.append([letter(b"0123456789")] * 3)
    last = letters.page()[-1]
    assert letters.settle({3: [msgspec.structs.replace(last, message="longer")]}) == 0
    assert [each.number for each in letters.page()] == [2, 3]
    assert (letters.totals().dropped_by_size, letters.totals().replayed) == (1, 0)
    assert_totals_agree(letters)
    letters.close()


def test_a_letter_removed_while_it_was_tried_again_does_not_come_back(letters: DeadLetters) -> None:
    letters.append([letter(b"a"), letter(b"b"), letter(b"c")])
    first, second, _ = letters.page()
    letters.remove([1, 2, 3])
    assert letters.settle({1: [first], 2: [letter(b"part of b"), second], 3: []}) == 0
    assert raws(letters) == []
    assert letters.totals().replayed == 0


def test_forgetting_removes_the_letters_that_name_an_id_and_no_others(letters: DeadLetters) -> None:
    mine = [b'{"user_id":"ann"}', b'{"user_id":"\\u0061nn"}', b"\xc3\x01........\x02\x06ann\x00"]
    others = [b'{"user_id":"anna"}', b'{"user_id":"joann"}', b"\xc3\x01........\x02\x08anna\x00"]
    filler = [b'{"user_id":"%d"}' % number for number in range(1_500)]
    letters.append([letter(raw) for raw in [*others, *filler, *mine, *others]])
    letters.append([letter(b'{"session_id":"s-1"}')])
    assert [each.raw for each in letters.mentioning(["ann", "s-1"])] == [*mine, b'{"session_id":"s-1"}']
    assert letters.mentioning([]) == []
    assert letters.forget(["ann", "s-1"]) == 4
    assert raws(letters) == [*others, *filler, *others]
    assert letters.forget(["ann", "s-1"]) == 0
    assert letters.totals().removed == 4
    assert_totals_agree(letters)


def test_a_letter_put_in_while_a_user_is_forgotten_is_forgotten_too(letters: DeadLetters) -> None:
    letters.append([letter(b'{"user_id":"ann"}')] * 501)
    remove = letters.remove

    def remove_and_append(numbers: list[int]) -> int:
        if 1 in numbers:
            letters.append([letter(b'{"user_id":"ann"}')])
        return remove(numbers)

    letters.remove = remove_and_append
    assert letters.forget(["ann"]) == 502
    assert letters.totals().waiting == 0


def test_counts_stay_exact_through_hundreds_of_random_changes(folder: Path) -> None:
    chance, clock = random.Random(5), ManualClock(NOW_MS)
    letters = queue(folder, clock, max_bytes=4_000, max_age_ms=60_000)
    given = 0
    for _ in range(200):
        clock.advance(chance.randrange(1_000))
        numbers = [each.number for each in letters.page()]
        move = chance.randrange(10)
        if move == 0:
            letters.remove(chance.sample(numbers, min(3, len(numbers))))
        elif move == 1 and numbers:
            stays = msgspec.structs.replace(letters.get(numbers[-1]), reason="changed", message="m" * 50)
            letters.settle({numbers[0]: [], numbers[-1]: [stays], numbers[len(numbers) // 2]: [letter(b"part")]})
        else:
            sizes = [chance.choice((0, 1, 10, 100, 5_000)) for _ in range(chance.randrange(1, 4))]
            batch = [letter(b"x" * n, reason=f"r{n}", received_ms=clock.now_ms() - n) for n in sizes]
            given += sum(number is None for number in letters.append(batch))
        assert_totals_agree(letters)
    totals = letters.totals()
    assert totals.waiting_bytes <= 4_000
    dropped = totals.dropped_by_size + totals.dropped_by_age + totals.withheld
    assert totals.last + given == totals.waiting + totals.replayed + totals.removed + dropped
    assert min(totals.dropped_by_age, totals.dropped_by_size, totals.removed, totals.replayed, totals.withheld) > 0
    letters.close()


def test_threads_append_remove_and_read_without_losing_count(folder: Path) -> None:
    letters, barrier = queue(folder), threading.Barrier(4)

    def work(thread: int) -> list[int | None]:
        barrier.wait()
        numbers: list[int | None] = []
        for turn in range(20):
            numbers += letters.append([letter(f"{thread}-{turn}-{n}".encode()) for n in range(5)])
            letters.remove([number for number in numbers[-2:] if number])
            letters.page(limit=20)
        return numbers

    with ThreadPoolExecutor(4) as pool:
        given = [number for numbers in pool.map(work, range(4)) for number in numbers]
    assert sorted(given) == list(range(1, 401))
    assert (letters.totals().waiting, letters.totals().removed) == (240, 160)
    assert_totals_agree(letters)
    letters.close()


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", WORKER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


def lines_until_end(worker: subprocess.Popen[str]) -> list[str]:
    with worker:
        assert worker.stdout is not None
        return worker.stdout.read().splitlines()


def test_two_processes_appending_and_dropping_at_once_keep_the_counts_exact(folder: Path) -> None:
    workers = [start("append", folder, name, 40, 10, 3_000) for name in ("left", "right")]
    printed = [lines_until_end(worker) for worker in workers]
    assert [len(lines) for lines in printed] == [40, 40]
    letters = queue(folder, max_bytes=3_000)
    totals = letters.totals()
    assert totals.last == 800 == totals.waiting + totals.dropped_by_size
    assert 0 < totals.waiting_bytes <= 3_000
    assert [each.number for each in letters.page()] == list(range(801 - totals.waiting, 801))
    assert_totals_agree(letters)
    letters.close()


def test_all_that_a_killed_process_reported_is_there_and_its_last_group_is_whole_or_absent(folder: Path) -> None:
    worker = start("append", folder, "e", 1_000_000, 7, 2**30)
    assert worker.stdout is not None
    reported = [worker.stdout.readline() for _ in range(20)]
    worker.kill()
    last, name = (reported + lines_until_end(worker))[-1].split()
    letters = queue(folder, max_bytes=2**30)
    assert letters.totals().last in (int(last), int(last) + 7)
    found = letters.get(int(last))
    assert found is not None
    assert found.raw == name.encode()
    assert raws(letters) == [f"e{number}".encode() for number in range(letters.totals().last)]
    assert_totals_agree(letters)
    letters.close()


def test_a_letter_is_shown_as_text_or_base64_or_without_its_bytes() -> None:
    shown = view(letter("é".encode(), number=3, producer="web"))
    assert (shown.number, shown.producer, shown.text, shown.base64, shown.size_bytes) == (3, "web", "é", None, 2)
    shown = view(letter(b"\xc3\x01"))
    assert (shown.text, shown.base64) == (None, "wwE=")
    shown = view(letter(b"secret"), with_bytes=False)
    assert (shown.text, shown.base64, shown.size_bytes) == (None, None, 6)


def test_a_closed_queue_refuses_every_call_and_closing_twice_is_fine(letters: DeadLetters) -> None:
    letters.append([letter()])
    letters.close()
    letters.close()
    for call in (
        lambda: letters.append([letter()]),
        lambda: letters.page(),
        lambda: letters.get(1),
        lambda: letters.remove([1]),
        lambda: letters.settle({1: []}),
        lambda: letters.forget(["ann"]),
        letters.totals,
        letters.trim,
    ):
        with pytest.raises(StoreError, match="closed"):
            call()
