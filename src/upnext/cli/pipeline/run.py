"""All steps from a home's log to a new release, in order."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from upnext.cli.pipeline.backfill import backfill
from upnext.cli.pipeline.compression import CompressedRanker, train_and_compress
from upnext.cli.pipeline.encoders import Encoders, train_encoders
from upnext.cli.pipeline.indexes import TunedIndexes, build_indexes
from upnext.cli.pipeline.lists import ranker_lists
from upnext.cli.pipeline.plan import SplitName, TrainSettings, split_of
from upnext.cli.pipeline.rehearsal import crowd_of, histories_at, rehearse
from upnext.cli.pipeline.world import World, load_world
from upnext.cli.pipeline.write import ReleaseFacts, write_release
from upnext.clock import SystemClock
from upnext.compress.step import check_session_step, session_step_graph
from upnext.features.session_stepper import GraphStepper
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.state.session_consumer import session_consumer
from upnext.store.interface import Store
from upnext.training.checkpoint import digest_of
from upnext.training.splits import Split, interactions


class Steps(Protocol):
    """Shows a person how far each step is."""

    def step(self, name: str) -> AbstractContextManager[Callable[[int, int, str], None]]:
        """Inside, what is returned takes (done, in all, a remark)."""


class TrainingRun:
    """One run over one home. Interrupted and run again with the same settings, it goes on where it was."""

    def __init__(
        self, home: Path, store: Store, records: Records, event_log: EventLog, settings: Settings, train: TrainSettings,
        seed: int, steps: Steps,
    ) -> None:  # fmt: skip
        self._home = home
        self._store = store
        self._records = records
        self._event_log = event_log
        self._settings = settings
        self._train = train
        self._seed = seed
        self._steps = steps

    def release(self, dataset: str, split_name: SplitName, *, hold_out: bool, cut_ms: int | None = None) -> Release:
        """Trains, compresses, writes a release and fills the store for it. Raises before anything is written.

        `cut_ms` is where a split by time cuts; None: where the newest tenth begins.
        """
        with self._steps.step("reading the log") as progress:
            world = load_world(self._event_log, self._records, lambda done, total: progress(done, total, "events"))
        split = split_of(world.columns, split_name, hold_out=hold_out, cut_ms=cut_ms)
        folder = self._folder(world, split)
        encoders = train_encoders(world, split.train, self._train, folder, self._seed, self._steps.step)
        step_graph = session_step_graph(encoders.session)
        check_session_step(step_graph, encoders.session, seed=self._seed)
        stepper = self._stepper(world, encoders, step_graph)
        tuned = self._indexes(world, split, encoders)
        ranker, retrieved_share = self._ranker(world, split, encoders, tuned, stepper, folder)
        everything = crowd_of(world, interactions(world.columns), self._settings)
        rehearsal = rehearse(world, encoders.vectors, tuned.indexes, everything, None, stepper, self._settings)
        facts = ReleaseFacts(
            encoders=stepper.encoders,
            dataset=dataset,
            split=split_name,
            hold_out=hold_out,
            cut_ms=int(world.columns.timestamp_ms[split.case_events].min()) if cut_ms is None else cut_ms,
            seed=self._seed,
            log_sequence=world.log_sequence,
            retrieved_share=retrieved_share,
            two_tower=self._train.two_tower,
            records_revision=world.records_revision,
        )
        with self._steps.step("writing the release"):
            release = write_release(
                self._home / "releases", SystemClock(), world=world, encoders=encoders, tuned=tuned, crowd=everything,
                ranker=ranker, spec=rehearsal.funnel.assembler.spec, step_graph=step_graph,
                facts=facts, spare_rows=self._settings.items.fresh_rows,
            )  # fmt: skip
        with self._steps.step("states and vectors of all users") as progress:
            self._backfill(world, facts.encoders, encoders, progress)
        return release

    def _backfill(self, world: World, name: str, encoders: Encoders, progress: Callable[[int, int, str], None]) -> None:
        """After it, the session consumer goes on behind the last event of the world."""
        settings = self._settings.state
        consumer = session_consumer(self._event_log, self._store, self._home / "consumers", settings, SystemClock())
        consumer.offset()
        generation = consumer.generation
        backfill(world, self._store, name, encoders.session, encoders.two_tower, settings, generation, progress)
        consumer.skip_to(world.log_sequence, generation)
        consumer.close()

    def _stepper(self, world: World, encoders: Encoders, graph: bytes) -> GraphStepper:
        assert encoders.vectors.session is not None
        name = digest_of(graph, encoders.vectors.session.tobytes(), encoders.two_tower_file.read_bytes())[:16]
        return GraphStepper(open_session(graph), encoders.vectors.session, world.catalog, name)

    def _indexes(self, world: World, split: Split, encoders: Encoders) -> TunedIndexes:
        users = np.unique(world.columns.user[split.train]).astype(np.int32)
        n_queries = min(self._train.index.queries, len(users))
        some = np.sort(np.random.default_rng(self._seed).choice(users, n_queries, replace=False))
        now = histories_at(world, split.train, some, encoders.session, encoders.two_tower)
        ones = np.ones((len(some), 1), np.float32)
        queries = {"session": np.hstack([now.session_vectors, ones]), "user": now.user_vectors}
        with self._steps.step("indexes") as progress:
            return build_indexes(encoders.vectors, queries, self._settings.retrieval, self._seed, progress)

    def _ranker(
        self, world: World, split: Split, encoders: Encoders, tuned: TunedIndexes, stepper: GraphStepper, folder: Path
    ) -> tuple[CompressedRanker, float]:
        crowd = crowd_of(world, split.train, self._settings)
        replay = rehearse(world, encoders.vectors, tuned.indexes, crowd, None, stepper, self._settings)
        users = np.unique(world.columns.user[split.ranker]).astype(np.int32)
        replay.begin(histories_at(world, split.train, users, encoders.session, encoders.two_tower))
        with self._steps.step("ranker lists") as progress:
            lists, retrieved_share = ranker_lists(
                world, replay, split.ranker, self._train.lists.most, self._seed, progress
            )
        with self._steps.step("ranker") as progress:
            file = self._ranker_file(folder, lists)
            return train_and_compress(lists, self._train, file, self._seed, progress), retrieved_share

    def _folder(self, world: World, split: Split) -> Path:
        """Where checkpoints are: the same events, split, encoder settings and seed find each other's."""
        columns = world.columns
        parts = (columns.user, columns.item, columns.timestamp_ms, split.train, world.catalog.keys)
        settings = msgspec.json.encode([self._train.session, self._train.two_tower, self._train.content, self._seed])
        digest = digest_of(settings, *(np.ascontiguousarray(part).tobytes() for part in parts))
        return self._home / "training" / digest[:16]

    def _ranker_file(self, folder: Path, lists: RankerLists) -> Path:
        """The ranker's checkpoint, which belongs to its very lists and settings too."""
        arrays = (lists.item_inputs, lists.user, lists.rows, lists.cross, lists.target)
        settings = msgspec.json.encode([self._train.ranker, self._train.lists, self._seed])
        digest = digest_of(settings, *(np.ascontiguousarray(array).data for array in arrays))
        return folder / f"ranker-{digest[:16]}.pt"
