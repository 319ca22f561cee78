"""Records keep items and users durably, and tell every process of each changed item once."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from upnext.domain.event import Item, User
from upnext.errors import StoreError
from upnext.ingest.records import ItemChange, Records

PUTS = """
import sys
from upnext.domain.event import Item
from upnext.ingest.records import Records
from pathlib import Path
records = Records(Path(sys.argv[1]))
for line in sys.stdin:
    number = line.strip()
    print(records.put_items([Item(item_id=f"{sys.argv[2]}{number}")]), flush=True)
records.close()
"""


def putter(folder: Path, name: str) -> subprocess.Popen[str]:
    """A process that puts the item `name` + N for every line N it is sent, and answers with the revision."""
    command = [sys.executable, "-c", PUTS, str(folder), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(process: subprocess.Popen[str], number: int) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def item(item_id: str, **fields: object) -> Item:
    return Item(item_id=item_id, **fields)  # type: ignore[arg-type]


def test_items_and_users_come_back_with_every_field_in_byte_order_of_their_ids(records: Records) -> None:
    full = Item(
        item_id="b", title="é", genres=("x", "y"), text="t", published_ms=-1, price=0.1, regions=("de",),
        available=False, promoted=True, attributes={"a": [1, {"b": None}]}, tenant="shop", blocked=True,
    )  # fmt: skip
    users = [User(user_id="u2"), User(user_id="u1", attributes={"age": 3}, tenant="shop")]
    records.put_items([full, item("a"), item("Ü")])
    records.put_users(users)
    assert list(records.items()) == [item("a"), full, item("Ü")]
    assert list(records.users()) == users[::-1]
    assert records.item("b") == full
    assert records.user("u1") == users[1]
    assert records.item("c") is records.user("u3") is None


def test_an_item_put_again_replaces_the_first_and_the_last_of_several_counts(records: Records) -> None:
    records.put_items([item("a", title="first"), item("b")])
    assert records.put_items([item("a", title="second"), item("a", title="third")]) == 3
    assert list(records.items()) == [item("a", title="third"), item("b")]
    assert records.changes(0) == [ItemChange(2, "b", item("b")), ItemChange(3, "a", item("a", title="third"))]


def test_the_revision_grows_by_one_with_every_changed_item_and_not_by_putting_the_same(records: Records) -> None:
    assert records.revision() == 0
    assert records.put_items([item("a"), item("b")]) == 2
    assert records.put_items([item("b"), item("a")]) == 2
    assert records.put_items([item("b"), item("a", price=1.0), item("c")]) == 4
    assert records.put_items([]) == 4
    records.put_users([User(user_id="u")])
    assert records.revision() == 4


def test_a_deleted_item_is_gone_but_known_as_deleted_until_it_is_put_again(records: Records) -> None:
    records.put_items([item("a"), item("b")])
    assert records.delete_items(["a", "nobody", "a"]) == 1
    assert records.item("a") is None
    assert list(records.items()) == [item("b")]
    assert list(records.deleted_items()) == ["a", "nobody"]
    assert records.changes(2) == [ItemChange(3, "a", None), ItemChange(4, "nobody", None)]
    assert records.delete_items(["a", "nobody"]) == 0
    assert records.revision() == 4
    assert records.put_items([item("a")]) == 5
    assert list(records.deleted_items()) == ["nobody"]
    assert records.changes(4) == [ItemChange(5, "a", item("a"))]


def test_withdrawals_are_the_changes_after_which_an_item_may_not_be_shown(records: Records) -> None:
    records.put_items([Item(item_id=name) for name in "abcde"])
    assert records.withdrawals(0) == []
    blocked, sold_out = Item(item_id="b", blocked=True), Item(item_id="d", available=False)
    records.put_items([blocked, sold_out, Item(item_id="e", price=1.0)])
    records.delete_items(["a", "unknown"])
    withdrawn = records.withdrawals(5)
    assert [(each.item_id, each.item) for each in withdrawn] == [
        ("b", blocked), ("d", sold_out), ("a", None), ("unknown", None),
    ]  # fmt: skip
    assert withdrawn == [change for change in records.changes(5) if change.item_id != "e"]
    assert records.withdrawals(withdrawn[1].revision) == withdrawn[2:]
    records.put_items([Item(item_id="b"), Item(item_id="a")])
    assert [each.item_id for each in records.withdrawals(0)] == ["d", "unknown"], "shown again"


def test_deleted_users_leave_nothing(records: Records, tmp_path: Path) -> None:
    records.put_users([User(user_id="ann"), User(user_id="bob")])
    assert records.delete_users(["ann", "nobody"]) == 1
    assert records.user("ann") is None
    assert list(records.users()) == [User(user_id="bob")]


def test_following_changes_in_small_steps_ends_with_the_records_themselves(records: Records) -> None:
    for round_ in range(5):
        records.put_items([item(f"i{number}", title=str(round_)) for number in range(round_, 30, round_ + 1)])
        records.delete_items([f"i{round_ * 3}"])
    followed: dict[str, Item | None] = {}
    after, calls = 0, 0
    while changes := records.changes(after, 7):
        assert len(changes) <= 7
        assert [change.revision for change in changes] == sorted(change.revision for change in changes)
        assert not followed.keys() & {change.item_id for change in changes}
        followed |= {change.item_id: change.item for change in changes}
        after, calls = changes[-1].revision, calls + 1
    assert after == records.revision()
    assert calls == -(-len(followed) // 7)
    assert [followed[each] for each in sorted(followed) if followed[each]] == list(records.items())
    assert records.changes(0, 0) == []
    assert records.changes(after + 10) == []


def test_records_and_revision_are_there_after_opening_again(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.put_items([item("a"), item("b")])
    records.delete_items(["b"])
    records.close()
    records = Records(tmp_path)
    assert (records.revision(), list(records.items()), list(records.deleted_items())) == (3, [item("a")], ["b"])
    records.close()


@pytest.mark.parametrize("found", [b"", b"\xff" * 8, b"\x01" + 7 * b"\0", b"no"])
def test_a_revision_file_that_is_lost_torn_behind_or_ahead_is_put_right_when_opening(
    tmp_path: Path, found: bytes
) -> None:
    records = Records(tmp_path)
    records.put_items([item("a"), item("b")])
    records.close()
    (tmp_path / "revision").write_bytes(found)
    records = Records(tmp_path)
    assert records.revision() == 2
    assert records.put_items([item("c")]) == 3
    records.close()


def test_a_revision_of_another_process_is_seen_as_soon_as_its_call_returns(records: Records, tmp_path: Path) -> None:
    with putter(tmp_path / "records", "left") as left, putter(tmp_path / "records", "right") as right:
        for number in range(10):
            assert ask(left, number) == records.revision() == 2 * number + 1
            assert ask(right, number) == records.revision() == 2 * number + 2
            assert records.changes(2 * number + 1)[0].item_id == f"right{number}"


def test_threads_putting_at_once_never_set_the_revision_back(records: Records) -> None:
    barrier = threading.Barrier(4)

    def put(thread: int) -> None:
        barrier.wait()
        seen = 0
        for number in range(40):
            revision = records.put_items([item(f"{thread}-{number}")])
            assert revision > seen
            seen = revision

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(4)))
    assert records.revision() == 160
    assert len(records.changes(0)) == 160


def test_a_put_that_fails_changes_nothing(records: Records) -> None:
    records.put_items([item("a")])
    for bad in (item("x" * 512), item("")):
        with pytest.raises(StoreError, match="1 to 511 bytes"):
            records.put_items([item("b"), bad])
    with pytest.raises(TypeError):
        records.put_items([item("b"), item("c", attributes={"cannot be encoded": object()})])
    assert (records.revision(), list(records.items())) == (1, [item("a")])
    assert records.put_items([item("ü" * 255)]) == 2


def test_iterating_goes_on_over_what_changes_meanwhile(records: Records) -> None:
    records.put_items([item(f"{number:05}") for number in range(20_500)])
    iterated = records.items()
    first = next(iterated)
    records.delete_items([f"{number:05}" for number in range(20_001, 20_500)])
    assert [first.item_id, *(each.item_id for each in iterated)] == [f"{number:05}" for number in range(20_001)]


def test_asking_for_the_revision_is_cheap_and_many_items_do_not_make_putting_slow(records: Records) -> None:
    records.put_items([item(f"i{number}") for number in range(20_000)])
    began = time.process_time()
    for round_ in range(3):
        for start in range(0, 20_000, 5_000):
            records.put_items([item(f"i{number}", title=str(round_)) for number in range(start, start + 5_000)])
    assert time.process_time() - began < 6
    assert len(records.changes(0, 100_000)) == 20_000
    began = time.process_time()
    for _ in range(100_000):
        records.revision()
    assert time.process_time() - began < 0.5  # 5 µs each, ten times what it takes


def test_closed_records_refuse_every_call_and_closing_twice_is_fine(records: Records) -> None:
    records.put_items([item("a")])
    records.close()
    records.close()
    calls = (
        lambda: records.put_items([item("b")]),
        lambda: records.delete_items(["a"]),
        lambda: records.put_users([]),
        lambda: records.delete_users([]),
        lambda: records.item("a"),
        lambda: records.user("u"),
        lambda: list(records.items()),
        lambda: list(records.users()),
        lambda: list(records.deleted_items()),
        records.revision,
        lambda: records.changes(0),
    )
    for call in calls:
        with pytest.raises(StoreError, match="closed"):
            call()
