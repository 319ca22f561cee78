"""How far a request may go: by guard and load, region by region, and what is learnt of it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from upnext.clock import ManualClock
from upnext.funnel.guard import create_guard
from upnext.serve.steering import Course, Steering
from upnext.settings import BudgetSettings, PressureSettings, Settings
from upnext.store.memory_store import MemoryStore

SETTINGS = Settings(
    budget=BudgetSettings(full_ms=50.0, fast_ms=15.0, surfaces={"home": 40.0}),
    pressure=PressureSettings(admission_start=2, guard_least_requests=10, guard_quiet_ms=0.0),
)
REGIONS = ("north", "south")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def guard_file(tmp_path: Path) -> Path:
    create_guard(tmp_path / "guard")
    return tmp_path / "guard"


@pytest.fixture
def steering(clock: ManualClock, guard_file: Path) -> Iterator[Steering]:
    steering = Steering(SETTINGS, clock, guard_file, "default")
    yield steering
    steering.close()


def begin(steering: Steering, region: str | None = "north", surface: str = "", asked_ms: float | None = None) -> Course:
    return steering.begin(region, REGIONS, surface, asked_ms)


def slow_down(steering: Steering, region: str) -> None:
    for _ in range(20):
        steering.finish(begin(steering, region), 1.0, 90.0)


def test_the_budget_is_what_was_asked_else_the_surfaces_else_that_of_all(steering: Steering) -> None:
    budgets = []
    for surface, asked_ms in (("home", 30.0), ("home", None), ("elsewhere", None)):
        course = begin(steering, surface=surface, asked_ms=asked_ms)
        budgets.append(course.budget_ms)
        steering.finish(course, 0.0, 1.0)
    assert budgets == [30.0, 40.0, 50.0]


def test_past_the_limit_a_request_goes_the_fast_way_at_once_until_one_has_left(steering: Steering) -> None:
    first, second, third = (begin(steering) for _ in range(3))
    assert [(each.most, each.why, each.budget_ms) for each in (first, second, third)] == [
        ("full", None, 50.0), ("full", None, 50.0), ("fast", "admission", 15.0),
    ]  # fmt: skip
    steering.finish(third, 0.0, 1.0)
    assert begin(steering).most == "fast", "the third had no place to give back"
    steering.give_up(first)
    assert begin(steering).most == "full"


def test_where_there_is_no_room_for_the_fast_way_either_it_is_what_is_popular(steering: Steering) -> None:
    courses = [begin(steering) for _ in range(5)]
    assert [course.most for course in courses] == ["full", "full", "fast", "fast", "popular"]
    for course in courses:
        steering.finish(course, 0.0, 1.0)
    assert [begin(steering).most for _ in range(2)] == ["full", "full"]


def test_whoever_there_is_no_room_for_lowers_the_quality_of_all_until_there_is_room(steering: Steering) -> None:
    qualities = []
    for _ in range(3):
        courses = [begin(steering) for _ in range(3)]
        for course in courses:
            steering.finish(course, 0.0, 1.0)
        qualities.append(steering.quality_of("north", REGIONS))
    assert 1.0 > qualities[0] > qualities[1] > qualities[2]
    assert steering.quality_of("south", REGIONS) == 1.0
    for _ in range(1_000):
        steering.finish(begin(steering), 0.0, 1.0)
    assert steering.quality_of("north", REGIONS) == 1.0


def test_the_fast_path_of_a_region_under_guard_says_nothing_of_the_quality(steering: Steering) -> None:
    slow_down(steering, "north")
    before = steering.quality_of("north", REGIONS)
    for _ in range(5):
        course = begin(steering, "north")
        assert course.why == "guard"
        steering.finish(course, 0.0, 1.0)
    assert steering.quality_of("north", REGIONS) == before


def test_a_slow_region_is_put_under_guard_and_the_others_are_not(steering: Steering, clock: ManualClock) -> None:
    slow_down(steering, "north")
    assert [begin(steering, region).why for region in ("north", "south")] == ["guard", None]
    clock.advance(SETTINGS.pressure.guard_on_ms + 1)
    assert begin(steering, "north").why != "guard"


def test_requests_that_are_late_by_our_own_promise_lower_the_quality_of_their_region(steering: Steering) -> None:
    for _ in range(3):
        steering.finish(begin(steering, "north"), 1.0, 60.0)
        steering.finish(begin(steering, "south", asked_ms=1.0), 1.0, 2.0)  # late only by the caller's haste
    assert begin(steering, "north").quality < 0.75
    assert begin(steering, "south").quality == 1.0


def test_regions_that_the_catalogue_does_not_know_are_steered_as_one(steering: Steering) -> None:
    slow_down(steering, "atlantis")
    assert [begin(steering, region).why for region in ("lemuria", None)] == ["guard", "guard"]


def test_tenants_on_one_server_have_guards_of_their_own(
    steering: Steering, clock: ManualClock, guard_file: Path
) -> None:
    other = Steering(SETTINGS, clock, guard_file, "acme")
    twin = Steering(SETTINGS, clock, guard_file, "default")
    slow_down(steering, "north")
    assert (begin(twin).why, begin(other).why) == ("guard", None)
    other.close()
    twin.close()


def test_another_machine_on_the_same_store_hears_of_it(steering: Steering, clock: ManualClock, tmp_path: Path) -> None:
    create_guard(tmp_path / "elsewhere")
    far = Steering(SETTINGS, clock, tmp_path / "elsewhere", "default")
    store = MemoryStore(clock)

    async def exchange() -> None:
        await steering.share_guard(store, REGIONS)
        await far.share_guard(store, REGIONS)

    slow_down(steering, "north")
    slow_down(steering, "nowhere")
    asyncio.run(exchange())
    assert [begin(far, region).why for region in ("north", "nowhere", "south")] == ["guard", "guard", None]
    far.close()
