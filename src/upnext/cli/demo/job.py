"""The main job from data to a served slate: import, train, evaluate, in this process; knows no server."""

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from upnext.cli.home import opened_home
from upnext.cli.output import as_json
from upnext.cli.pipeline.evaluation import evaluate_split, open_subject
from upnext.cli.pipeline.plan import TrainSettings
from upnext.cli.pipeline.run import TrainingRun
from upnext.cli.screen import ScreenSteps, console
from upnext.clock import SystemClock
from upnext.ingest.columns import EventColumns
from upnext.ingest.importers.formats import open_source
from upnext.ingest.importers.run import import_into
from upnext.models.ranker_config import RankerConfig
from upnext.models.session_encoder import SessionConfig
from upnext.models.two_tower import TwoTowerConfig
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.training.report import EvaluationReport, as_table

SYNTHETIC = Path("synthetic")
# Enough to learn the built-in world's tastes and series within its minute and a half.
QUICK = TrainSettings(
    session=SessionConfig(epochs=3, learning_rate=6e-3),
    two_tower=TwoTowerConfig(epochs=2),
    ranker=RankerConfig(epochs=3, hidden=(128, 64, 64), exits=(2, 3)),
)


_LATEST_USERS, _LATEST_EVENTS = 200, 4_000


@dataclass(frozen=True)
class Learnt:
    """What the second half of the demo needs to know of the first."""

    user_ids: list[str]  # the latest active
    genres: list[str]
    evaluation: Table


def learn(home: Path, data: Path, settings: Settings, train: TrainSettings, seed: int) -> Learnt:
    """Imports `data` (or the synthetic world) into `home`, trains with the newest events held out, and evaluates."""
    steps, clock = ScreenSteps(), SystemClock()
    with opened_home(home, settings.store) as opened:
        with steps.step(f"import of {data.name}") as progress:
            source = open_source(data, now_ms=clock.now_ms())
            report = import_into(
                source, opened.event_log, opened.records, clock=clock,
                progress=lambda rows, share: progress(int(1_000 * share), 1_000, f"{rows:,} rows"),
            )  # fmt: skip
            progress(1, 1, f"{report.accepted_events:,} events, {report.duplicates:,} already there")
        run = TrainingRun(home, opened.store, opened.records, opened.event_log, settings, train, seed, steps)
        release, releases = run.release(data.name, "leave-one-out", hold_out=True), Releases(home)
        releases.activate(release.id)
        with steps.step("evaluation") as progress:
            subject = open_subject(releases.open_active(), opened.records, opened.event_log, settings)
            measured = evaluate_split(subject, "leave-one-out", settings, seed, progress)
    evaluation = EvaluationReport.of(measured, dataset=data.name, split="leave-one-out", seed=seed, release=release.id)
    releases.evaluations.keep(release.id, "leave-one-out", as_json(evaluation))
    users = _latest_users(subject.world.columns)
    console.print(f"release [bold]{release.id}[/bold] in {home / 'releases'}")
    return Learnt(users, subject.live.funnel.catalog.genres, as_table(evaluation))


def _latest_users(columns: EventColumns) -> list[str]:
    newest = dict.fromkeys(columns.user[-_LATEST_EVENTS:][::-1].tolist())
    subjects = [columns.users[user] for user in list(newest)[:_LATEST_USERS]]
    return [subject.removeprefix("u:") for subject in subjects if subject.startswith("u:")]
