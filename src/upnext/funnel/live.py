"""A release opened for requests: its parts by name, the funnel over them, and its readers of state."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock, Deadline
from upnext.errors import ReleaseError
from upnext.features.item_vectors import ItemVectors
from upnext.features.session_stepper import GraphStepper
from upnext.features.user_view import UserView
from upnext.funnel.funnel import Funnel
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.funnel.retrieval.sources import Indexes
from upnext.index import open_index
from upnext.release.onnx_session import open_session
from upnext.release.release import Release
from upnext.settings import Settings
from upnext.state.apply import read_user
from upnext.state.crowd import Crowd
from upnext.state.user_state import UserState, state_key
from upnext.store.interface import Store

SPACES = ("session", "user", "content")


@dataclass(frozen=True)
class Live:
    """Everything a worker needs of one release. Immutable but for the crowd, which its follower moves."""

    release_id: str
    created_ms: int  # when the release was made
    funnel: Funnel
    stepper: GraphStepper | None
    log_sequence: int  # last event of the log that the crowd has counted when the release was made
    warm_up: tuple[str, ...]  # subjects to send through the funnel before the first request

    def view(self, subject: str | None, store: Store, deadline: Deadline) -> UserView:
        """What is known of a subject now; the default view for None. Raises `StoreError`."""
        if subject is None:
            return UserView()
        state, vectors = read_user(subject, store, self.stepper, deadline)
        return UserView.of(state, vectors, self.funnel.catalog)

    def seen_rows(self, subject: str, store: Store, deadline: Deadline) -> npt.NDArray[np.int32]:
        """What a subject has seen, and nothing else: one read. Raises `StoreError`."""
        seen = self.funnel.catalog.rows_of(UserState.unpack(store.get_many([state_key(subject)], deadline)[0]).seen)
        return seen[seen >= 0]


def open_live(release: Release, settings: Settings, clock: Clock) -> Live:
    """Opens all parts of a verified release by memory map. Raises `ReleaseError` where they do not fit together."""
    catalog = Catalog.open(release.array, release.json)
    vectors = ItemVectors(
        **{space: np.asarray(release.array(f"vectors.{space}")) for space in SPACES if f"vectors.{space}" in release}
    )
    indexes = Indexes(
        **{space: open_index(release.path(f"index.{space}")) for space in SPACES if f"index.{space}" in release}
    )
    crowd = Crowd(catalog.n_items, settings)
    crowd.load(release.array)
    facts = release.json("facts")
    funnel = Funnel(catalog, vectors, indexes, crowd, _ranker(release, settings), settings, clock)
    _check_fit(release, funnel)
    stepper = None
    if "session_step" in release and vectors.session is not None:
        graph = open_session(release.path("session_step"))
        stepper = GraphStepper(graph, vectors.session, catalog, facts["encoders"])
    return Live(
        release.id, release.manifest.created_ms, funnel, stepper, facts["log_sequence"], tuple(facts["warm_up"])
    )


def _check_fit(release: Release, funnel: Funnel) -> None:
    """Parts that do not belong together would fail in every request; better not to open them."""
    n_items = funnel.catalog.n_items
    for space in SPACES:
        table, index = getattr(funnel.vectors, space), getattr(funnel.indexes, space)
        if index is not None and (table is None or (index.n_items, index.dim) != table.shape):
            raise ReleaseError(
                f"index and vectors of the {space} space of release {release.id} differ; train a new one"
            )
        if table is not None and len(table) != n_items:
            raise ReleaseError(
                f"release {release.id} has {len(table)} {space} vectors for {n_items} items; train a new one"
            )
    if funnel.ranker is None:
        return
    if (hidden := len(release.array("ranker.item_hidden"))) != n_items:
        raise ReleaseError(f"the ranker of release {release.id} knows {hidden} of {n_items} items; train a new one")
    if release.json("ranker.spec")["digest"] != funnel.assembler.spec.digest():
        raise ReleaseError(
            f"release {release.id} was made for other ranker inputs than this version assembles; train a new one"
        )


def _ranker(release: Release, settings: Settings) -> GraphRanker | None:
    if "ranker.exits" not in release:
        return None
    exits = release.json("ranker.exits")
    graphs = {name: open_session(release.path(f"ranker.{name}")) for name in exits["names"]}
    if settings.ranking.exit and settings.ranking.exit not in graphs:
        raise ReleaseError(
            f"ranking.exit is {settings.ranking.exit!r}, but release {release.id} has {', '.join(graphs)}; "
            "change the setting"
        )
    return GraphRanker(
        graphs, release.array("ranker.item_hidden"), default_exit=exits["default"], chunk=settings.ranking.chunk
    )
