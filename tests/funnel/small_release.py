"""A small release of random weights over items whose text, vectors and genres are of three topics."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tests.funnel.fakes import World
from upnext.catalog.catalog import Catalog
from upnext.catalog.spare import with_spare_rows
from upnext.compress.ranker import ExportedRanker, export_ranker
from upnext.compress.step import session_step_graph
from upnext.domain.event import Item
from upnext.features.assemble import Assembler
from upnext.features.content_text import ContentText
from upnext.features.item_vectors import ItemVectors
from upnext.features.spec import FeatureSpec
from upnext.index.flat import FlatIndex
from upnext.models.content import ContentConfig, fit_content
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists
from upnext.models.session import SessionConfig, session_encoder
from upnext.models.session_encoder import SessionEncoder
from upnext.release.release import Release
from upnext.release.writer import ReleaseWriter
from upnext.settings import Settings

N_ITEMS, DIM, SPARE = 60, 16, 12
SPACES = ("session", "user", "content")
TOPICS = ("comet orbit rocket", "garden tulip meadow", "violin sonata cello")
SHADES = ("amber", "birch", "coral", "dune", "ember", "fjord", "grove")  # of items 4, 25 and 46, alike in all: "ember"


def topic_item(item_id: str, topic: int, **fields: object) -> Item:
    """An item whose text and genre are of one of three topics."""
    return Item(**{"item_id": item_id, "title": TOPICS[topic], "genres": (f"genre {topic}",)} | fields)


@dataclass(frozen=True)
class Parts:
    """What a release is written of."""

    world: World
    encoder: SessionEncoder
    spec: FeatureSpec
    exported: ExportedRanker
    text: ContentText


def made_parts() -> Parts:
    """Items "0", "1", … of topics 0, 1, 2, 0, …; in every space those of one topic are near each other."""
    torch.manual_seed(0)
    world, rng = World(N_ITEMS, dim=DIM), np.random.default_rng(5)
    items = [topic_item(str(row), row % 3, text=SHADES[row % 7]) for row in range(N_ITEMS)]
    world.catalog = Catalog.build(items)
    content = fit_content(items, ContentConfig(embedding_size=DIM))
    assert content is not None
    world.content = content.vectors
    encoder = session_encoder(N_ITEMS, SessionConfig(embedding_size=DIM))
    for table in (encoder.embedding.weight.data[-N_ITEMS:], world.user):
        centres = 3 * np.linalg.qr(rng.normal(size=(DIM, 3)))[0].T
        near = centres[np.arange(N_ITEMS) % 3] + 0.5 * rng.normal(size=(N_ITEMS, DIM))
        table[:] = torch.from_numpy(near) if isinstance(table, torch.Tensor) else near.astype(np.float32)
    session = encoder.item_vectors()
    session[:, -1] = 0.1 * rng.normal(size=N_ITEMS)
    world.vectors = ItemVectors(session, world.user, world.content)
    assembler = Assembler(world.catalog, world.vectors)
    inputs, spec = assembler.items(world.crowd(Settings(), range(20)).trends), assembler.spec
    return Parts(world, encoder, spec, _ranker(inputs, spec), content.text)


def _ranker(items: np.ndarray, spec: FeatureSpec) -> ExportedRanker:
    rng = np.random.default_rng(0)
    lists = RankerLists(
        item_inputs=items,
        user=rng.normal(size=(20, len(spec.user))).astype(np.float32),
        rows=np.stack([rng.permutation(N_ITEMS)[:30] for _ in range(20)]).astype(np.int32),
        cross=rng.normal(size=(20, 30, len(spec.cross))).astype(np.float32),
        target=np.zeros(20, np.int32),
    )
    config = RankerConfig(first_width=32, hidden=(16, 16), exits=(1, 2))
    model = RankerDnn(
        config, n_item_inputs=items.shape[1], n_user_inputs=len(spec.user), n_cross_inputs=len(spec.cross)
    )
    for weights in (*model.heads.parameters(), model.wide.weight):
        weights.data.normal_()
    return export_ranker(model.eval(), lists)


def release_of(
    folder: Path, parts: Parts, *, digest: str = "", without: tuple[str, ...] = (), spare: int = SPARE,
    **replaced: np.ndarray,
) -> Release:  # fmt: skip
    """A release of `parts`, some tables `replaced` by name, some parts left out."""
    world, exported = parts.world, parts.exported
    folder.mkdir(exist_ok=True)
    writer = ReleaseWriter(folder / "releases", world.clock)
    world.catalog.save(writer.add_array, writer.add_json, spare)
    world.crowd(Settings(), range(20)).save(writer.add_array)
    for space in SPACES:
        table = getattr(world.vectors, space)
        writer.add_array(f"vectors.{space}", with_spare_rows(replaced.get(space, table), spare))
        FlatIndex.build(replaced.get(f"{space}_index", table)).save(folder / space)
        writer.add_file(f"index.{space}", folder / space)
    writer.add_bytes("session_step", session_step_graph(parts.encoder), ".onnx")
    for depth, graph in exported.int8_graphs.items():
        writer.add_bytes(f"ranker.exit{depth}", graph, ".onnx")
    writer.add_array("ranker.item_hidden", with_spare_rows(replaced.get("hidden", exported.items.table), spare))
    writer.add_array("ranker.item_weight", exported.items.weight)
    writer.add_array("ranker.item_offset", exported.items.offset)
    if "ranker.exits" not in without:
        writer.add_json("ranker.exits", {"names": ["exit1", "exit2"], "default": "exit2"})
    writer.add_json("ranker.spec", {"digest": digest or parts.spec.digest()})
    if "content" not in without:
        writer.add_json("content.terms", parts.text.terms)
        writer.add_array("content.idf", parts.text.idf)
        writer.add_array("content.projection", parts.text.projection)
    writer.add_json("facts", {"encoders": "e1", "log_sequence": 5, "records_revision": 40})
    return writer.commit()
