"""Fixtures shared by all suites."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# One thread per native library: tests run beside each other, and results do not depend on the number of cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# The same examples in every run: what failed once fails again.
hypothesis.settings.register_profile("seeded", derandomize=True)
hypothesis.settings.load_profile("seeded")

REPOSITORY = Path(__file__).resolve().parents[1]
TINY_WORLD = Path("synthetic:n_items=200,n_users=150,n_events=9000,seed=3")
TINY_WORLD_NOW_MS = 1_760_000_000_000


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets: $UPNEXT_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("UPNEXT_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set UPNEXT_DATA to their folder")
    return folder


@dataclass(frozen=True)
class TrainedHome:
    """A home with a tiny synthetic world in it and one active release, trained with the newest events held out."""

    path: Path
    release_id: str

    def copy(self, to: Path) -> Path:
        """A home of one's own, to change at will."""
        shutil.copytree(self.path, to)
        return to


class NoSteps:
    """Shows nobody anything."""

    @contextmanager
    def step(self, name: str) -> Iterator[Any]:
        yield lambda done, total, remark="": None


def train_tiny(home: Path, seed: int = 0, *, select: bool = False, kind: Literal["dnn", "trees"] = "dnn") -> str:
    """Imports the tiny world into `home`, trains and activates; the release's id. A few seconds.

    With `select` the ranker's inputs are selected, rather than the default ones. `kind`: of the ranker.
    """
    from upnext.cli.home import opened_home
    from upnext.cli.pipeline.plan import ListSettings, TrainSettings
    from upnext.cli.pipeline.run import TrainingRun
    from upnext.clock import ManualClock
    from upnext.ingest.importers.formats import open_source
    from upnext.ingest.importers.run import import_into
    from upnext.models.ranker_config import RankerConfig
    from upnext.models.session_encoder import SessionConfig
    from upnext.models.two_tower import TwoTowerConfig
    from upnext.release.releases import Releases
    from upnext.settings import Settings
    from upnext.training.selection import FeatureSettings

    train = TrainSettings(
        session=SessionConfig(epochs=8, embedding_size=16, learning_rate=1e-2, batch_events=2_048),
        two_tower=TwoTowerConfig(epochs=2, embedding_size=16, hidden_size=32, batch_events=2_048),
        ranker=RankerConfig(kind=kind, epochs=2, first_width=32, hidden=(32, 16), exits=(1, 2), batch_lists=16),
        lists=ListSettings(most=400, parity=60),
        features=FeatureSettings(select=select, keep=20, repeats=1),
    )
    with opened_home(home) as opened:
        source = open_source(TINY_WORLD, now_ms=TINY_WORLD_NOW_MS)
        import_into(source, opened.event_log, opened.records, clock=ManualClock(TINY_WORLD_NOW_MS))
        run = TrainingRun(home, opened.store, opened.records, opened.event_log, Settings(), train, seed, NoSteps())
        release = run.release("tiny", "leave-one-out", hold_out=True)
    return Releases(home).activate(release.id).id


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> TrainedHome:
    """Trained once for all tests; copy it before changing it."""
    home = tmp_path_factory.mktemp("trained") / "home"
    return TrainedHome(home, train_tiny(home))
