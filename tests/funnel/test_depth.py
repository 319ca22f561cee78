"""Which exit a request gets: the wish by mode, cut short by quality and by what fits into the time left."""

import math

import pytest

from upnext.errors import SettingsError
from upnext.funnel.ranking.depth import Depths
from upnext.funnel.stages import NoCosts

EXITS = ("exit3", "exit5", "exit8")
COSTS = {"ranking:exit3": 2.0, "ranking:exit5": 5.0, "ranking:exit8": 9.0}


class Known(NoCosts):
    def __init__(self, p99_ms: dict[str, float]) -> None:
        self._p99_ms = p99_ms

    def p99_ms(self, stage: str) -> float:
        return self._p99_ms.get(stage, 0.0)


def chosen(mode="dwell", quality=1.0, left_ms=math.inf, *, depths=None, costs=COSTS) -> str:
    depths = depths or Depths(EXITS, "exit5")
    at = depths.choose(mode, quality, left_ms, Known(costs))
    return depths.exits[at] if at >= 0 else "none"


@pytest.mark.parametrize(
    ("mode", "exit_name"), [("scroll", "exit3"), ("browse", "exit5"), ("dwell", "exit8"), ("", "exit2"), ("?", "exit2")]
)
def test_the_mode_says_how_deep_a_request_wishes_to_look(mode, exit_name):
    depths = Depths(("exit3", "exit2", "exit5", "exit7", "exit8"), "exit2")  # the order counts, not the name
    assert chosen(mode, depths=depths) == exit_name


def test_of_two_exits_in_the_middle_the_deeper_is_taken():
    assert chosen("browse", depths=Depths(("a", "b"), "a")) == "b"
    assert chosen("browse", depths=Depths(("a", "b", "c", "d"), "a")) == "c"
    assert chosen("browse", depths=Depths(("a",), "a")) == "a"


@pytest.mark.parametrize(
    ("left_ms", "exit_name"),
    [(9.0, "exit8"), (8.99, "exit5"), (5.0, "exit5"), (4.99, "exit3"), (2.0, "exit3"), (1.99, "none"), (-1.0, "none")],
)
def test_the_deepest_exit_whose_cost_fits_is_taken(left_ms, exit_name):
    assert chosen("dwell", left_ms=left_ms) == exit_name


def test_time_never_takes_a_request_deeper_than_it_wished():
    assert chosen("scroll", left_ms=1_000.0) == "exit3"
    assert chosen("browse", left_ms=4.0) == "exit3"


def test_a_cost_that_is_not_known_fits():
    assert chosen("dwell", left_ms=0.1, costs={}) == "exit8"
    assert chosen("dwell", left_ms=1.0, costs={"ranking:exit8": 9.0}) == "exit5"


@pytest.mark.parametrize(
    ("quality", "exit_name"),
    [
        (1.0, "exit8"),
        (0.67, "exit8"),
        (2 / 3, "exit5"),
        (0.34, "exit5"),
        (1 / 3, "exit3"),
        (0.1, "exit3"),
        (0, "exit3"),
    ],
)
def test_quality_opens_its_share_of_the_exits(quality, exit_name):
    assert chosen("dwell", quality) == exit_name
    assert chosen("scroll", quality) == "exit3"


def test_an_exit_named_in_the_settings_overrules_mode_and_quality_but_is_not_started_without_time():
    depths = Depths(EXITS, "exit8", fixed="exit5")
    assert depths.default == "exit5"
    assert {chosen(mode, quality, depths=depths) for mode in ("scroll", "dwell", "") for quality in (1, 0.1)} == {
        "exit5"
    }
    assert chosen(left_ms=4.0, depths=depths) == "none"


def test_an_exit_that_the_ranker_lacks_is_refused():
    with pytest.raises(SettingsError, match="'exit4', but the ranker has the exits exit3, exit5, exit8"):
        Depths(EXITS, "exit5", fixed="exit4")
