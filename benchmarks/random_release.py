"""A home with a release of random weights in the shape of the hand-made service: for speed and memory, not quality.

Clustered unit vectors in both spaces, two 350-nearest searches merged to 500 candidates, a ranker 256-128-64-1 behind
the folded first layer, re-ranking by genre; users user0 … with a session and a user vector each.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.catalog.spare import with_spare_rows
from upnext.clock import Deadline, SystemClock
from upnext.compress.ranker import ExportedRanker, export_ranker
from upnext.compress.step import session_step_graph
from upnext.domain.event import Item
from upnext.domain.identity import subject_of
from upnext.features.assemble import Assembler
from upnext.features.item_vectors import ItemVectors
from upnext.features.spec import CROSS, FeatureSpec
from upnext.index.autotune import autotune
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists
from upnext.models.session import session_encoder
from upnext.models.session_encoder import SessionConfig
from upnext.release.releases import Releases
from upnext.release.writer import ReleaseWriter
from upnext.settings import load_settings
from upnext.state.crowd import Crowd
from upnext.state.user_state import UserState, UserVectors, state_key, vectors_key
from upnext.store.lmdb_store import LmdbStore

Floats = npt.NDArray[np.float32]
N_GENRES = 400
ENCODERS = "random"
# As the hand-made service has it: two searches of 350, and 150 ms before an answer falls back.
SETTINGS = """\
[retrieval]
session_vector = 350
user_vector = 350

[budget]
full_ms = 150
"""


def clustered_unit_vectors(rng: np.random.Generator, n_items: int, dim: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """(n_items, dim) unit vectors around 400 centres, and each one's centre."""
    centres = rng.standard_normal((N_GENRES, dim), np.float32)
    genre = rng.integers(0, N_GENRES, n_items)
    vectors = centres[genre] + np.float32(0.7) * rng.standard_normal((n_items, dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, genre


def build_random_release(
    home: Path, n_items: int = 100_000, dim: int = 64, n_users: int = 20_000, seed: int = 0
) -> str:
    """Writes and activates the release in `home`, and stores the users' vectors; its id."""
    rng = np.random.default_rng(seed)
    vectors, genre = clustered_unit_vectors(rng, n_items, dim)
    catalog = Catalog.build(
        Item(item_id=f"item{row}", title=f"Item {row}", genres=(f"genre{genre[row]}",)) for row in range(n_items)
    )
    session = np.hstack([vectors, np.zeros((n_items, 1), np.float32)])
    tables = ItemVectors(session=session, user=vectors)
    home.mkdir(parents=True, exist_ok=True)
    (home / "upnext.toml").write_text(SETTINGS)
    settings = load_settings(home)
    crowd = Crowd(n_items, settings)
    popular = rng.zipf(1.3, 200_000) % n_items
    crowd.trends.observe_many(popular.astype(np.int32), np.full(len(popular), 1_700_000_000_000))
    spec = Assembler(catalog, tables).spec
    exported = _random_ranker(spec, n_items, seed)
    encoder = session_encoder(1, SessionConfig(embedding_size=dim))
    writer = ReleaseWriter(home / "releases", SystemClock())
    spare = settings.items.fresh_rows
    catalog.save(writer.add_array, writer.add_json, spare)
    crowd.save(writer.add_array)
    users = [f"user{user}" for user in range(n_users)]
    with TemporaryDirectory() as folder:
        for space, table in (("session", session), ("user", vectors)):
            writer.add_array(f"vectors.{space}", with_spare_rows(table, spare))
            index, _ = autotune(table, k=350, recall_target=settings.retrieval.recall_target, seed=seed)
            index.save(Path(folder) / space)
            writer.add_file(f"index.{space}", Path(folder) / space)
    writer.add_bytes("session_step", session_step_graph(encoder), ".onnx")
    writer.add_bytes("ranker.exit2", exported.int8_graphs[2], ".onnx")
    writer.add_array("ranker.item_hidden", with_spare_rows(exported.items.table, spare))
    writer.add_array("ranker.item_weight", exported.items.weight)
    writer.add_array("ranker.item_offset", exported.items.offset)
    writer.add_json("ranker.exits", {"names": ["exit2"], "default": "exit2"})
    writer.add_json("ranker.spec", {"digest": spec.digest()})
    writer.add_json("facts", {"encoders": ENCODERS, "log_sequence": 0, "records_revision": 0})
    release = writer.commit(dataset=f"random {n_items} x {dim}")
    _store_users(home, users, vectors, encoder.state_size)
    Releases(home).activate(release.id)
    return release.id


def _random_ranker(spec: FeatureSpec, n_items: int, seed: int) -> ExportedRanker:
    config = RankerConfig(first_width=256, hidden=(128, 64), exits=(2,))
    model = RankerDnn(config, n_item_inputs=len(spec.item), n_user_inputs=len(spec.user), n_cross_inputs=len(CROSS))
    rng = np.random.default_rng(seed)
    lists = RankerLists(
        item_inputs=rng.standard_normal((n_items, len(spec.item)), np.float32),
        user=rng.standard_normal((50, len(spec.user)), np.float32),
        rows=rng.integers(0, n_items, (50, 500)).astype(np.int32),
        cross=rng.standard_normal((50, 500, len(CROSS)), np.float32),
        target=np.zeros(50, np.int32),
    )
    return export_ranker(model.eval(), lists)


def _store_users(home: Path, users: list[str], vectors: Floats, state_size: int) -> None:
    clock = SystemClock()
    store, hidden = LmdbStore(home / "state", clock), np.zeros(state_size, np.float32)
    records = []
    for place, user in enumerate(users):
        subject = subject_of(user, None)
        assert subject is not None
        state = UserState(state_version=1, n_interactions=10, last_ms=1_700_000_000_000)
        made = UserVectors(1, vectors[place % len(vectors)], vectors[(place * 7) % len(vectors)], hidden)
        records += [(state_key(subject), state.pack()), (vectors_key(ENCODERS, subject), made.pack())]
    store.put_many(records, Deadline.never(clock))
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--items", type=int, default=100_000)
    arguments = parser.parse_args()
    print(build_random_release(arguments.home, arguments.items))


if __name__ == "__main__":
    main()
