"""Slates go on while a model of a real server hangs, and it heals by itself; `under_pressure` is the long run."""

from pathlib import Path

from tests.conftest import TrainedHome
from tests.faults.pressure_faults import faults
from tests.faults.pressure_home import World
from tests.faults.pressure_trial import Load, run

# Beside other tests, on a machine of any speed: it is the hang of 2 s that must not be felt.
SHORT = Load(
    slates_per_s=60,
    events_per_s=10,
    calm_s=0.8,
    fault_s=3.0,
    after_s=2.0,
    connections=32,
    most_ms=1_500,
    needs_recovery=False,
)
PATIENT = ("budget.full_ms=190",)  # so that full slates are in time on a slow machine, too


def test_a_hanging_ranker_costs_no_answer_and_is_asked_again_once_it_is_well(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    users, items = [f"u{number:05}" for number in range(150)], [f"i{number:05}" for number in range(200)]
    fault = faults()["ranker_hangs"]
    result = run(World(trained_home.path, users, items), fault, tmp_path / "trial", SHORT, PATIENT)
    assert not result.broken(), result
    # It was a trial: the ranker was asked before and after, and not while it hung.
    assert result.phases["calm"].tiers["full"] > 10
    assert result.phases["after"].tiers["full"] > 10
    assert result.phases["fault"].tiers["full"] < result.phases["fault"].answered / 2
