"""A release opened for requests: its parts by name, the funnel over them, and its readers of state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock, Deadline
from upnext.errors import ReleaseError
from upnext.features.content_text import ContentText, QueryVectors
from upnext.features.item_records import ITEM_TABLES
from upnext.features.item_rows import ItemRows, ItemTier, open_item_rows
from upnext.features.item_vectors import UNLEARNT_PART, ItemVectors, Unlearnt
from upnext.features.neighbours import LOOK_PART, LookBack, Neighbours
from upnext.features.session_inputs import InputTables
from upnext.features.session_stepper import GraphStepper
from upnext.features.spec import Chosen, FeatureSpec
from upnext.features.user_view import UserView
from upnext.funnel.fresh import FreshItems
from upnext.funnel.funnel import Funnel
from upnext.funnel.indexing import Indexing
from upnext.funnel.ranking.opening import open_ranker
from upnext.funnel.retrieval.sources import Indexes
from upnext.funnel.retrieval.weights import WEIGHTS_PART, with_learnt_weights
from upnext.index import open_index
from upnext.release.onnx_session import open_session
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.state.advance import SessionStepper
from upnext.state.apply import Healed, read_user
from upnext.state.crowd import Crowd
from upnext.store.interface import Store

SPACES = ("session", "user", "content")


@dataclass(frozen=True)
class Live:
    """Everything a worker needs of one release.

    Immutable but for the crowd, which its follower moves, and the items, which `fresh` brings up to date.
    """

    release_id: str
    created_ms: int  # when the release was made
    funnel: Funnel
    stepper: GraphStepper | None
    log_sequence: int  # last event of the log that the crowd has counted when the release was made
    fresh: FreshItems  # its revision: that of the last change of items which the release, and by now the funnel, has
    item_rows: ItemRows | None = None  # where vectors and the ranker's items come from the store
    steps: SessionStepper | None = None  # `stepper` as requests and the applying of events use it, guarded
    indexing: Indexing | None = None  # None where vectors come from the store: posted items are looked at one by one
    text: ContentText | None = None  # words to vectors of the content space

    def view(
        self,
        subject: str | None,
        store: Store,
        deadline: Deadline,
        healed: Callable[[Healed], None] = lambda healed: None,
    ) -> UserView:
        """What is known of a subject now; the default view for None. `healed`: see `read_user`. Raises `StoreError`."""
        if subject is None:
            return UserView()
        stepper, settings = self.steps or self.stepper, self.funnel.settings.state
        state, vectors = read_user(subject, store, stepper, deadline, healed, settings)
        return UserView.of(state, vectors, self.funnel.catalog, settings.session_gap_ms)


def open_live(
    release: Release, settings: Settings, clock: Clock, *, spare_rows: bool = True, tier: ItemTier | None = None
) -> Live:
    """Opens all parts of a verified release by memory map. Raises `ReleaseError` where they do not fit together.

    Without `spare_rows` it is as the training saw it: items are its released ones, and new ones have no place. With a
    `tier` the tables of `ITEM_TABLES` are not mapped to be read by requests, but come from there; it must have them.
    """
    item_rows = None if tier is None else _item_rows(release, tier, settings, clock)

    def by_row(name: str) -> npt.NDArray[Any]:
        if item_rows is not None and name in ITEM_TABLES:
            return cast(npt.NDArray[Any], item_rows.table(name))  # as far as requests use arrays
        array = release.own_array(name)
        return array if spare_rows else array[: len(release.array("catalog.sorted_keys"))]

    catalog = Catalog.open(release.array, release.json, by_row)
    vectors = ItemVectors(
        **{space: by_row(f"vectors.{space}") for space in SPACES if f"vectors.{space}" in release},
        unlearnt=Unlearnt.open(release.array) if UNLEARNT_PART in release else None,
    )
    indexes = Indexes(
        **{space: open_index(release.path(f"index.{space}")) for space in SPACES if f"index.{space}" in release},
        neighbours=_neighbours(release, by_row),
    )
    settings = with_learnt_weights(settings, release.json(WEIGHTS_PART) if WEIGHTS_PART in release else None)
    crowd = Crowd(catalog.n_items, settings)
    crowd.load(release.array, parts=release)
    facts = release.json("facts")
    ranker, side = open_ranker(release, by_row, settings.ranking)
    chosen = _chosen(release)
    funnel = Funnel(catalog, vectors, indexes, crowd, ranker, settings, clock, item_rows=item_rows, chosen=chosen)
    _check_fit(release, funnel, None if side is None else side.table)
    stepper, text = None, _content_text(release)
    if "session_step" in release and vectors.session is not None:
        graph = open_session(release.path("session_step"))
        steps = vectors.session if item_rows is None else item_rows.table("vectors.session", steady=True)
        inputs, queries = input_tables(release), _query_vectors(release, text)
        stepper = GraphStepper(graph, cast(npt.NDArray[Any], steps), catalog, facts["encoders"], inputs, queries)
    fresh = FreshItems(funnel, text, side, settings.items, facts["records_revision"])
    indexing = Indexing(funnel, fresh, settings.items) if item_rows is None else None
    return Live(
        release.id, release.manifest.created_ms, funnel, stepper, facts["log_sequence"], fresh, item_rows,
        indexing=indexing, text=text,
    )  # fmt: skip


def _item_rows(release: Release, tier: ItemTier, settings: Settings, clock: Clock) -> ItemRows:
    tables = item_tables(release)
    weights = release.array("trends.weights")[:, settings.trends.popular_half_life]
    n_released = len(release.array("catalog.sorted_keys"))
    return open_item_rows(release.id, tables, n_released, tier, weights[:n_released], clock)


def _neighbours(release: Release, by_row: Callable[[str], npt.NDArray[Any]]) -> Neighbours | None:
    if "neighbours.rows" not in release:
        return None
    rows = by_row("neighbours.rows")
    look = msgspec.convert(release.json(LOOK_PART), LookBack) if LOOK_PART in release else None
    return Neighbours(rows, by_row("neighbours.weights"), len(rows), look)


def item_tables(release: Release) -> dict[str, npt.NDArray[Any]]:
    """The tables with a row per item that may come from the store: (n_items + spare rows, width) each, mapped."""
    return {name: release.array(name) for name in ITEM_TABLES if name in release}


def _content_text(release: Release) -> ContentText | None:
    if "content.terms" not in release:
        return None
    return ContentText.from_terms(
        release.json("content.terms"), release.array("content.idf"), release.array("content.projection")
    )


def input_tables(release: Release) -> InputTables:
    """What the session encoder of a release adds for action, gap and value; an older one adds nothing."""
    tables = {
        name: release.array(f"session.{name}") for name in ("actions", "gaps", "values") if f"session.{name}" in release
    }
    if "values" not in tables:
        return InputTables(**tables)
    return InputTables(**tables, value_edges=np.array(release.json("session.value_edges"), np.float32))


def _query_vectors(release: Release, text: ContentText | None) -> QueryVectors | None:
    if text is None or "content.to_session" not in release:
        return None
    return QueryVectors(text, release.array("content.to_session"))


def _chosen(release: Release) -> Chosen:
    """The engineered inputs that the release's ranker asks for. Raises `ReleaseError` where one has no formula here."""
    if "ranker.spec" not in release or "features" not in release.json("ranker.spec"):
        return Chosen()
    chosen = msgspec.convert(release.json("ranker.spec")["features"], FeatureSpec).chosen()
    if unknown := chosen.unknown():
        raise ReleaseError(
            f"release {release.id} was made for other ranker inputs than this version assembles, "
            f"{unknown[0]!r} among them; train a new one"
        )
    return chosen


def _check_fit(release: Release, funnel: Funnel, ranker_items: npt.NDArray[Any] | None) -> None:
    """Parts that do not belong together would fail in every request; better not to open them."""
    n_items, n_released = funnel.catalog.n_items, funnel.catalog.n_released
    spare = n_items - n_released
    for space in SPACES:
        table, index = getattr(funnel.vectors, space), getattr(funnel.indexes, space)
        if table is not None and len(table) != n_items:
            raise ReleaseError(
                f"release {release.id} has {len(table) - spare} {space} vectors for {n_released} items; train a new one"
            )
        if index is not None and (table is None or (index.n_items, index.dim) != (n_released, table.shape[1])):
            raise ReleaseError(
                f"index and vectors of the {space} space of release {release.id} differ; train a new one"
            )
    if ranker_items is not None and len(ranker_items) != n_items:
        raise ReleaseError(
            f"the ranker of release {release.id} knows {len(ranker_items) - spare} of {n_released} items; "
            "train a new one"
        )
    if funnel.ranker is not None and release.json("ranker.spec")["digest"] != funnel.assembler.spec.digest():
        raise ReleaseError(
            f"release {release.id} was made for other ranker inputs than this version assembles; train a new one"
        )
