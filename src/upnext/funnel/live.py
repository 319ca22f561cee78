"""A release opened for requests: its parts by name, the funnel over them, and its readers of state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock, Deadline
from upnext.errors import ReleaseError
from upnext.features.content_text import ContentText
from upnext.features.item_records import ITEM_TABLES
from upnext.features.item_rows import ItemRows, ItemTier, open_item_rows
from upnext.features.item_vectors import ItemVectors
from upnext.features.session_stepper import GraphStepper
from upnext.features.user_view import UserView
from upnext.funnel.fresh import FreshItems, ItemSide
from upnext.funnel.funnel import Funnel
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.funnel.retrieval.sources import Indexes
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
        state, vectors = read_user(subject, store, self.steps or self.stepper, deadline, healed)
        return UserView.of(state, vectors, self.funnel.catalog)


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
    vectors = ItemVectors(**{space: by_row(f"vectors.{space}") for space in SPACES if f"vectors.{space}" in release})
    indexes = Indexes(
        **{space: open_index(release.path(f"index.{space}")) for space in SPACES if f"index.{space}" in release}
    )
    crowd = Crowd(catalog.n_items, settings)
    crowd.load(release.array)
    facts = release.json("facts")
    table = by_row("ranker.item_hidden") if "ranker.exits" in release else None
    ranker = None if table is None else _ranker(release, table, settings)
    funnel = Funnel(catalog, vectors, indexes, crowd, ranker, settings, clock, item_rows=item_rows)
    _check_fit(release, funnel, table)
    stepper = None
    if "session_step" in release and vectors.session is not None:
        graph = open_session(release.path("session_step"))
        steps = vectors.session if item_rows is None else item_rows.table("vectors.session", steady=True)
        stepper = GraphStepper(graph, cast(npt.NDArray[Any], steps), catalog, facts["encoders"])
    side = None
    if table is not None and "ranker.item_weight" in release:
        side = ItemSide(table, release.array("ranker.item_weight"), release.array("ranker.item_offset"))
    fresh = FreshItems(funnel, _content_text(release), side, settings.items, facts["records_revision"])
    return Live(release.id, release.manifest.created_ms, funnel, stepper, facts["log_sequence"], fresh, item_rows)


def _item_rows(release: Release, tier: ItemTier, settings: Settings, clock: Clock) -> ItemRows:
    tables = item_tables(release)
    weights = release.array("trends.weights")[:, settings.trends.popular_half_life]
    n_released = len(release.array("catalog.sorted_keys"))
    return open_item_rows(release.id, tables, n_released, tier, weights[:n_released], clock)


def item_tables(release: Release) -> dict[str, npt.NDArray[Any]]:
    """The tables with a row per item that may come from the store: (n_items + spare rows, width) each, mapped."""
    return {name: release.array(name) for name in ITEM_TABLES if name in release}


def _content_text(release: Release) -> ContentText | None:
    if "content.terms" not in release:
        return None
    return ContentText.from_terms(
        release.json("content.terms"), release.array("content.idf"), release.array("content.projection")
    )


def _check_fit(release: Release, funnel: Funnel, item_hidden: npt.NDArray[np.int8] | None) -> None:
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
    if item_hidden is None:
        return
    if len(item_hidden) != n_items:
        raise ReleaseError(
            f"the ranker of release {release.id} knows {len(item_hidden) - spare} of {n_released} items; "
            "train a new one"
        )
    if release.json("ranker.spec")["digest"] != funnel.assembler.spec.digest():
        raise ReleaseError(
            f"release {release.id} was made for other ranker inputs than this version assembles; train a new one"
        )


def _ranker(release: Release, item_hidden: npt.NDArray[np.int8], settings: Settings) -> GraphRanker:
    exits = release.json("ranker.exits")
    graphs = {name: open_session(release.path(f"ranker.{name}")) for name in exits["names"]}
    if settings.ranking.exit and settings.ranking.exit not in graphs:
        raise ReleaseError(
            f"ranking.exit is {settings.ranking.exit!r}, but release {release.id} has {', '.join(graphs)}; "
            "change the setting"
        )
    return GraphRanker(graphs, item_hidden, default_exit=exits["default"], chunk=settings.ranking.chunk)
