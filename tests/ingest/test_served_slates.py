"""Slates and outcomes find each other whichever comes first, however often, and go when they should."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.ingest.serving import NOW_MS, event, slate
from upnext.clock import ManualClock
from upnext.domain.identity import key_of
from upnext.ingest.served import JoinedSlate, Outcome
from upnext.ingest.served_slates import ServedSlates
from upnext.settings import ImpressionSettings

KEEP_MS = 10_000
SETTINGS = ImpressionSettings(keep_ms=KEEP_MS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def served(tmp_path: Path, clock: ManualClock) -> Iterator[ServedSlates]:
    served = ServedSlates(tmp_path / "served", SETTINGS, clock)
    yield served
    served.close()


def told(joined: JoinedSlate | None) -> list[tuple[str, str]]:
    assert joined is not None
    return [(outcome.action, outcome.item_id) for outcome in joined.outcomes]


def nothing_left(served: ServedSlates) -> bool:
    """But for the mark that somebody was forgotten."""
    return [key for key, _ in served.store.scan(b"") if not key.startswith(b"forgotten/")] == []


def test_a_slate_comes_back_as_it_was_put(served):
    put = slate("r")
    served.put([put])
    joined = served.get("r")
    assert joined == JoinedSlate(put, [])
    assert joined.slate.user_features().tolist() == [1, 2, 3]
    assert joined.slate.cross_features().tolist() == [[0, 0.5], [1, 1.5], [2, 2.5]]
    assert served.get("s") is None


def test_a_slate_without_features_has_none(served):
    served.put([slate("r", spec="", user=b"", cross=b"")])
    bare = served.get("r").slate
    assert (bare.user_features().shape, bare.cross_features().shape) == ((0,), (3, 0))


def test_what_happened_is_joined_by_the_request(served):
    served.put([slate("r"), slate("s")])
    seen = event("r", "a", "impression", context={"position": 4})
    served.join([(7, seen), (8, event("r", "b", "purchase", value=9.5)), (9, event("s", "c"))])
    assert served.get("r").outcomes == [
        Outcome(
            item_id="a",
            action="impression",
            timestamp_ms=NOW_MS + 1_000,
            subject=key_of("u:ann"),
            value=None,
            position=4,
        ),
        Outcome(item_id="b", action="purchase", timestamp_ms=NOW_MS + 1_000, subject=key_of("u:ann"), value=9.5),
    ]
    assert told(served.get("s")) == [("click", "c")]


def test_outcomes_are_in_the_order_of_the_log(served):
    served.put([slate("r")])
    served.join([(300, event("r", "a")), (5, event("r", "b")), (70_000, event("r", "c"))])
    assert [item for _, item in told(served.get("r"))] == ["b", "a", "c"]


def test_an_event_that_comes_again_counts_once(served):
    served.put([slate("r")])
    for _ in range(3):
        served.join([(7, event("r"))])
    served.put([slate("r")])
    assert told(served.get("r")) == [("click", "b")]
    assert len(list(served.all())) == 1


def test_an_outcome_that_comes_before_its_slate_is_not_lost(served, clock):
    served.join([(7, event("r"))])
    assert served.get("r") is None
    assert list(served.all()) == []
    clock.advance(KEEP_MS - 1)
    served.put([slate("r", served_ms=clock.now_ms())])
    assert told(served.get("r")) == [("click", "b")]


def test_an_outcome_whose_slate_never_comes_goes_in_time(served, clock):
    served.join([(7, event("r"))])
    clock.advance(KEEP_MS)
    served.put([slate("r", served_ms=clock.now_ms())])
    assert told(served.get("r")) == []


def test_a_slate_expires_with_its_outcomes(served, clock):
    served.put([slate("r")])
    served.join([(7, event("r"))])
    clock.advance(KEEP_MS - 1)
    assert [told(joined) for joined in served.all()] == [[("click", "b")]]
    clock.advance(1)
    assert served.get("r") is None
    assert list(served.all()) == []
    assert served.of_subject("u:ann") == []
    assert nothing_left(served)


@pytest.mark.parametrize(
    "passed_over",
    [
        event(None),
        event("r", None, "app_open"),
        event("r", action="hover"),
        event("r", consent=False),
        event("r", user_id=None),
        event("r", timestamp_ms=NOW_MS - KEEP_MS - 1),
    ],
)
def test_events_that_say_nothing_of_a_slate_leave_nothing(served, passed_over):
    served.put([slate("r", subject=None)])
    before = list(served.store.scan(b""))
    served.join([(7, passed_over)])
    assert list(served.store.scan(b"")) == before


@pytest.mark.parametrize(("position", "kept"), [(0, 0), ("3", None), (True, None), (None, None)])
def test_a_position_that_is_no_number_is_none(served, position, kept):
    served.put([slate("r")])
    served.join([(1, event("r", context={"position": position}))])
    assert served.get("r").outcomes[0].position == kept


def test_what_is_read_is_the_first_choice_of_each_item_and_strangers_count_for_nothing(served):
    served.put([slate("r")])
    early, late = NOW_MS + 10, NOW_MS + 20
    served.join(
        [
            (1, event("r", "b", "purchase", timestamp_ms=late)),
            (2, event("r", "b", "click", timestamp_ms=early)),
            (3, event("r", "a", "click", timestamp_ms=late)),
            (4, event("r", "c", "dislike", timestamp_ms=early)),
            (5, event("r", "z", "click", timestamp_ms=early)),
            (6, event("r", "c", "impression", timestamp_ms=early)),
        ]
    )
    joined = served.get("r")
    assert {item: outcome.action for item, outcome in joined.choices().items()} == {"b": "click", "a": "click"}
    assert list(joined.choices()) == ["b", "a"]
    assert list(joined.dislikes()) == ["c"]
    assert list(joined.impressions()) == ["c"]
    assert joined.strangers() == 1


def test_all_come_in_the_order_in_which_they_were_served(served):
    times = np.random.default_rng(0).permutation(1_200)  # more than one batch of reading
    for part in np.array_split(times, 7):
        served.put([slate(f"r{at}", served_ms=NOW_MS + int(at)) for at in part])
    assert [joined.slate.served_ms - NOW_MS for joined in served.all()] == list(range(1_200))
    assert [joined.slate.request_id for joined in served.all(after_ms=NOW_MS + 1_197)] == ["r1198", "r1199"]


def test_a_share_is_drawn_by_the_request_alone(tmp_path, clock):
    ids = [f"request-{number}" for number in range(4_000)]
    kept = {}
    for share in (0.0, 0.25, 0.5, 1.0):
        some = ServedSlates(tmp_path / "served", ImpressionSettings(share=share), clock)
        kept[share] = {request_id for request_id in ids if some.keeps(request_id)}
        some.close()
    assert kept[0.0] < kept[0.25] < kept[0.5] < kept[1.0] == set(ids)
    assert kept[0.0] == set()
    assert abs(len(kept[0.25]) - 1_000) < 100


def test_outcomes_of_slates_that_are_not_kept_are_passed_over(tmp_path, clock):
    none = ServedSlates(tmp_path / "served", ImpressionSettings(share=0.0), clock)
    none.join([(1, event("r"))])
    assert nothing_left(none)
    none.close()


def test_the_slates_of_a_subject_are_found_the_oldest_first(served):
    mine = [slate("r2", served_ms=NOW_MS + 2), slate("r1", served_ms=NOW_MS + 1)]
    served.put([*mine, slate("s", subject="u:bob"), slate("t", subject=None)])
    served.join([(1, event("r2")), (2, event("s"))])  # ann clicked in bob's slate too
    assert [(each.slate.request_id, told(each)) for each in served.of_subject("u:ann")] == [
        ("r1", []),
        ("r2", [("click", "b")]),
    ]
    assert served.of_subject("u:eve") == []


def test_who_is_forgotten_leaves_nothing(served):
    served.put([slate("r"), slate("s")])
    served.join([(1, event("r")), (2, event("r", user_id="bob")), (3, event("never-written"))])
    assert served.forget(["u:ann"]) == 5
    assert served.of_subject("u:ann") == []
    assert list(served.all()) == []
    assert nothing_left(served)
    assert served.forget(["u:ann"]) == 0


def test_others_keep_their_slates_without_what_the_forgotten_did_there(served):
    served.put([slate("r"), slate("s", subject="u:bob")])
    served.join([(1, event("s", "a")), (2, event("s", "b", user_id="bob"))])
    assert served.forget(["u:ann", "u:eve"]) == 2
    assert [joined.slate.request_id for joined in served.all()] == ["s"]
    assert [each.subject for each in served.get("s").outcomes] == [key_of("u:bob")]
    assert [each.slate.request_id for each in served.of_subject("u:bob")] == ["s"]


def test_what_was_under_way_when_somebody_was_forgotten_is_dropped(served, clock):
    served.forget(["u:ann"])
    served.put([slate("r", served_ms=NOW_MS), slate("s", subject="u:bob")])
    served.join([(1, event("r", timestamp_ms=NOW_MS)), (2, event("s", user_id="bob", timestamp_ms=NOW_MS))])
    assert [joined.slate.request_id for joined in served.all()] == ["s"]
    assert told(served.get("s")) == [("click", "b")]
    assert len(list(served.store.scan(b"outcome/"))) == 1
    assert list(served.store.scan(b"subject/" + key_of("u:ann").to_bytes(8, "big"))) == []
    clock.advance(1)
    served.put([slate("t", served_ms=clock.now_ms())])  # ann has come back
    served.join([(3, event("t", timestamp_ms=clock.now_ms()))])
    assert told(served.get("t")) == [("click", "b")]


def test_the_folder_stays_within_its_bytes_and_the_oldest_make_way(tmp_path, clock):
    small = ServedSlates(tmp_path / "served", SETTINGS, clock, max_bytes=1024 * 1024)
    used, files = [], []
    for batch in range(80):
        numbers = range(batch * 10, batch * 10 + 10)
        small.put([slate(f"r{each}", served_ms=NOW_MS + each, user=bytes(3_000)) for each in numbers])
        small.join([(each, event(f"r{each}")) for each in numbers])
        used.append(small.used_bytes())
        files.append((tmp_path / "served" / "data.mdb").stat().st_size)
    left = [joined.slate.served_ms - NOW_MS for joined in small.all()]
    assert left == list(range(800 - len(left), 800))
    assert small.made_way == 800 - len(left)
    assert 0.9 * 1024 * 1024 < used[-1] <= max(used) < 1.1 * 1024 * 1024
    assert max(files) < 2 * 1024 * 1024
    assert len(list(small.store.scan(b"outcome/"))) == len(left)
    small.close()


def test_two_processes_share_the_folder(tmp_path, served):
    code = (
        "import sys; from pathlib import Path; from tests.ingest.serving import *\n"
        "from upnext.clock import ManualClock; from upnext.settings import ImpressionSettings\n"
        "from upnext.ingest.served_slates import ServedSlates\n"
        f"served = ServedSlates(Path(sys.argv[1]), ImpressionSettings(keep_ms={KEEP_MS}), ManualClock(NOW_MS))\n"
        "served.join([(n, event(f'r{n}')) for n in range(200)])\n"
        "served.put([slate(f's{n}') for n in range(200)])\n"
        "served.close()\n"
    )
    root = Path(__file__).parents[2]
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "served")], cwd=root)
    for number in range(200):
        served.put([slate(f"r{number}")])
    served.join([(number, event(f"s{number}")) for number in range(200)])
    assert other.wait(timeout=60) == 0
    assert [told(joined) for joined in served.all()] == [[("click", "b")]] * 400


def test_closing_twice_is_fine_and_leaves_the_folder_to_others(tmp_path, served, clock):
    other = ServedSlates(tmp_path / "served", SETTINGS, clock)
    for _ in range(3):
        other.close()
    served.put([slate("r")])
    assert served.used_bytes() > 0
    assert served.get("r") is not None
