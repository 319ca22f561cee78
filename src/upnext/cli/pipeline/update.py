"""A new release from the one before and what the log says since: new items and the ranker's last layers, no more."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.backfill import backfill
from upnext.cli.pipeline.calibration import calibrated
from upnext.cli.pipeline.compression import CompressedRanker, recompress
from upnext.cli.pipeline.encoders import Encoders
from upnext.cli.pipeline.impression_lists import with_impressions
from upnext.cli.pipeline.indexes import TunedIndexes, extend_indexes
from upnext.cli.pipeline.lists import asked_of, ranker_lists
from upnext.cli.pipeline.plan import SplitName, TrainSettings, split_of
from upnext.cli.pipeline.ranker_labels import may_be_known
from upnext.cli.pipeline.rehearsal import crowd_of, histories_at, item_inputs, rehearse
from upnext.cli.pipeline.run import Steps
from upnext.cli.pipeline.selection import Listed
from upnext.cli.pipeline.update_base import UpdateBase, learnt_before, merge_of, open_base, step_of
from upnext.cli.pipeline.update_encoders import updated_encoders
from upnext.cli.pipeline.world import load_world
from upnext.cli.pipeline.write import ReleaseFacts, write_release
from upnext.clock import SystemClock
from upnext.compress.kept import KeptRanker
from upnext.errors import TrainingError
from upnext.features.neighbours import Neighbours
from upnext.features.session_stepper import GraphStepper
from upnext.features.spec import FeatureSpec
from upnext.funnel.live import input_tables
from upnext.funnel.retrieval.weights import WEIGHTS_PART, with_learnt_weights
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records
from upnext.release.onnx_session import open_session
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.state.session_consumer import session_consumer
from upnext.store.interface import Store
from upnext.training.ranker_update import update_ranker, with_inputs
from upnext.training.splits import Mask, Split, interactions


@dataclass(frozen=True)
class _Events:
    """Events of a world by what an update does with them, (n_events,) bool each."""

    visible: Mask  # may be known
    older: Mask  # of them, those the release has learnt from
    earlier: Mask  # the new ones that teach items before the ranker learns
    later: Mask  # the new ones that the ranker learns from

    @property
    def new(self) -> Mask:
        return self.earlier | self.later


class UpdateRun:
    """One update over one home, of one release."""

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

    def release(
        self, of: Release, dataset: str, split_name: SplitName, *, hold_out: bool, cut_ms: int | None = None
    ) -> Release:
        """The release after `of`, not active yet; the store is filled for it. Raises before anything is written.

        The encoders' name stays, since whatever was encoded would be so again: only users with new events, or with
        items that have a vector now and had none, get new states and vectors. Raises `TrainingError` where there is
        nothing new, the release knows what is to be held out, or it cannot be updated.
        """
        weights = of.json(WEIGHTS_PART) if WEIGHTS_PART in of else None
        self._settings = with_learnt_weights(self._settings, weights)
        with self._steps.step("reading the log") as progress:
            world = load_world(
                self._event_log, self._records, lambda done, total: progress(done, total, "events"),
                contexts=self._settings.trends.contexts,
            )  # fmt: skip
            base = open_base(of, world, self._settings, self._train)
        world = base.world
        split = split_of(world.columns, split_name, hold_out=hold_out, cut_ms=cut_ms)
        events = self._events(base, split, hold_out)
        with TemporaryDirectory() as folder:
            with self._steps.step("new items"):
                before = events.older | events.earlier
                # For the lists alone: one pass brings vectors most of the way, and all are learnt anew below.
                brief = msgspec.structs.replace(self._train.update, item_epochs=1)
                encoders = updated_encoders(base, before, events.earlier, brief, self._seed, Path(folder))
            listed = self._lists(base, encoders, events, may_be_known(world.columns, split))
            with self._steps.step("new items, the newest too"):
                update = self._train.update
                encoders = updated_encoders(base, events.visible, events.new, update, self._seed, Path(folder))
                tuned = self._indexes(base, encoders, events.visible)
            ranker = self._ranker(base, listed)
            with self._steps.step("calibration"):
                opened = ranker.opened(self._settings.ranking.chunk)
                calibration = calibrated(opened, listed.lists, self._train, self._seed)
                now = crowd_of(world, events.visible, self._settings)
                ranker = ranker.with_items(item_inputs(world.catalog, encoders.vectors, now, listed.spec))
            cut = int(world.columns.timestamp_ms[split.case_events].min()) if cut_ms is None else cut_ms
            facts = ReleaseFacts(
                encoders=base.facts["encoders"], dataset=dataset or base.facts["dataset"], split=split_name,
                hold_out=hold_out, cut_ms=cut, seed=self._seed, log_sequence=world.log_sequence,
                retrieved_share=listed.retrieved_share, two_tower=encoders.two_tower.config,
                records_revision=world.records_revision, made_by="update", updated_from=of.id,
                updates=int(base.facts.get("updates", 0)) + 1,
            )  # fmt: skip
            chosen = interactions(world.columns)
            everything = now if np.array_equal(chosen, events.visible) else crowd_of(world, chosen, self._settings)
            with self._steps.step("writing the release"):
                release = write_release(
                    self._home / "releases", SystemClock(), world=world, encoders=encoders, tuned=tuned,
                    crowd=everything, ranker=ranker, spec=listed.spec, step=step_of(of), facts=facts,
                    spare_rows=self._settings.items.fresh_rows, merge=merge_of(of), calibration=calibration,
                )  # fmt: skip
        self._backfill(base, encoders)
        return release

    def _events(self, base: UpdateBase, split: Split, hold_out: bool) -> _Events:
        known = learnt_before(base)
        if hold_out and known[split.case_events].any():
            raise TrainingError(
                f"release {base.release.id} has learnt from events that would be held out; hold out what is newer "
                "(--split time --cut …), or train anew with --hold-out"
            )
        visible = split.train | split.ranker
        new = np.flatnonzero(visible & ~known)
        if not len(new):
            raise TrainingError(
                f"the log has nothing new since release {base.release.id} (event {base.log_sequence:,}); "
                "import events or serve some first"
            )
        n_later = max(1, round(self._train.update.ranker_share * len(new)))
        earlier, later = (np.zeros(len(visible), np.bool_) for _ in range(2))
        earlier[new[:-n_later]], later[new[-n_later:]] = True, True
        return _Events(visible, visible & known, earlier, later)

    def _lists(self, base: UpdateBase, encoders: Encoders, events: _Events, known: Mask) -> Listed:
        """Lists of the later new events, and some of the newest that the release knew, against forgetting."""
        update = self._train.update
        tuned = self._indexes(base, encoders, events.older | events.earlier)
        n_new = min(update.lists, int(events.later.sum()))
        n_old = max(round(update.replay_share * n_new), update.fewest_lists - n_new)
        replayed = np.zeros_like(events.older)
        replayed[np.flatnonzero(events.older)[-n_old:]] = True
        new = self._replayed(base, encoders, tuned, events.older | events.earlier, events.later, known, n_new)
        old = self._replayed(base, encoders, tuned, events.older & ~replayed, replayed, known, n_old)
        lists = new.lists
        if len(old.lists):  # with the item side as of before either, so that none has a glimpse of what is chosen
            lists = with_impressions(replace(lists, item_inputs=old.lists.item_inputs), old.lists, 1.0)
        if len(lists) < 2:
            raise TrainingError(
                f"retrieval found {len(lists)} of the events to learn from, too few for an update; train anew"
            )
        return Listed(lists, new.spec, new.retrieved_share)

    def _replayed(
        self, base: UpdateBase, encoders: Encoders, tuned: TunedIndexes, before: Mask, chosen: Mask, known: Mask,
        most: int,
    ) -> Listed:  # fmt: skip
        world = base.world
        users = np.unique(world.columns.user[asked_of(chosen, most, self._seed)]).astype(np.int32)
        crowd = crowd_of(world, before, self._settings)
        graph, tables = open_session(base.release.path("session_step")), input_tables(base.release)
        assert encoders.vectors.session is not None
        stepper = GraphStepper(graph, encoders.vectors.session, world.catalog, base.facts["encoders"], tables)
        chosen_inputs = base.live.funnel.assembler.chosen
        replay = rehearse(world, encoders.vectors, tuned.indexes, crowd, None, stepper, self._settings, chosen_inputs)
        replay.begin(histories_at(world, before, users, encoders.session, encoders.two_tower))
        with self._steps.step("ranker lists") as progress:
            lists, share = ranker_lists(world, replay, chosen, known, most, self._seed, progress)
        return Listed(lists, replay.funnel.assembler.spec, share)

    def _indexes(self, base: UpdateBase, encoders: Encoders, visible: Mask) -> TunedIndexes:
        world, funnel = base.world, base.live.funnel
        users = np.unique(world.columns.user[visible]).astype(np.int32)
        n_queries = min(self._train.index.queries, len(users))
        some = np.sort(np.random.default_rng(self._seed).choice(users, n_queries, replace=False))
        now = histories_at(world, visible, some, encoders.session, encoders.two_tower)
        ones = np.ones((len(some), 1), np.float32)
        queries = {"session": np.hstack([now.session_vectors, ones]), "user": now.user_vectors}
        retrieval = self._settings.retrieval
        tuned = extend_indexes(funnel.indexes, funnel.vectors, encoders.vectors, queries, retrieval, self._seed)
        if encoders.neighbours is None:
            return tuned
        lists, before = encoders.neighbours, funnel.indexes.neighbours
        listed = Neighbours(lists.rows, lists.weights, world.catalog.n_items, before.look if before else None)
        return replace(tuned, indexes=replace(tuned.indexes, neighbours=listed))

    def _ranker(self, base: UpdateBase, listed: Listed) -> CompressedRanker:
        """The last layers of every width that is served learn; what was chosen of widths and precisions stays."""
        update, lists = self._train.update, listed.lists
        order = np.random.default_rng(self._seed).permutation(len(lists))
        n_kept_back = min(self._train.lists.parity, max(1, len(lists) // 5))
        learning, kept_back = lists.take(order[n_kept_back:]), lists.take(order[:n_kept_back])
        old, new = _inputs(base.live.funnel.assembler.spec), _inputs(listed.spec)
        served = {row.width for row in base.ranker.choices.values()}
        models = {share: with_inputs(model, old, new) for share, model in base.ranker.models.items()}
        for share in served:
            with self._steps.step(f"last layers, width {share:g}") as progress:
                models[share] = update_ranker(
                    models[share], learning, epochs=update.ranker_epochs, learning_rate=update.ranker_learning_rate,
                    seed=self._seed, progress=progress,
                )  # fmt: skip
        kept = KeptRanker(models, base.ranker.choices, base.ranker.default_exit)
        with self._steps.step("exporting the ranker"):
            return recompress(kept, learning, kept_back, self._train)

    def _backfill(self, base: UpdateBase, encoders: Encoders) -> None:
        world, state = base.world, self._settings.state
        consumer = session_consumer(self._event_log, self._store, self._home / "consumers", state, SystemClock())
        try:
            stale = None if consumer.offset() < base.log_sequence else _stale_users(base, encoders)
            generation = consumer.generation
            with self._steps.step("states and vectors of users with new events") as progress:
                backfill(
                    world, self._store, base.facts["encoders"], encoders.session, encoders.two_tower, state, generation,
                    progress, stale,
                )  # fmt: skip
            consumer.skip_to(world.log_sequence, generation)
        finally:
            consumer.close()


def _stale_users(base: UpdateBase, encoders: Encoders) -> npt.NDArray[np.int32]:
    """Users with events since the release, or with items whose vectors came with the update."""
    columns, old, new = base.world.columns, base.live.funnel.vectors, encoders.vectors
    assert old.session is not None
    assert old.user is not None
    assert new.session is not None
    assert new.user is not None
    moved = np.ones(base.world.catalog.n_items + 1, np.bool_)
    moved[-1] = False  # of an event without an item
    n = base.n_items
    moved[:n] = (new.session[:n] != old.session).any(axis=1) | (new.user[:n] != old.user).any(axis=1)
    return np.unique(columns.user[(columns.seq > base.log_sequence) | moved[columns.item]]).astype(np.int32)


def _inputs(spec: FeatureSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return spec.item, spec.user
