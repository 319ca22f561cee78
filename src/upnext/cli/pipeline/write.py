"""Step four: everything into one release folder."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from upnext.catalog.spare import with_spare_rows
from upnext.cli.pipeline.compression import CompressedRanker, exit_name
from upnext.cli.pipeline.encoders import Encoders
from upnext.cli.pipeline.indexes import TunedIndexes
from upnext.cli.pipeline.world import World
from upnext.clock import Clock
from upnext.features.content_text import ContentText
from upnext.features.spec import FeatureSpec
from upnext.models.two_tower import TwoTowerConfig
from upnext.release.release import Release
from upnext.release.writer import ReleaseWriter
from upnext.state.crowd import Crowd


class ReleaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a release says of itself beside its parts."""

    encoders: str  # names the weights; stored vectors belong to one such name
    dataset: str
    split: str
    hold_out: bool
    cut_ms: int  # where a split by time cuts
    seed: int
    log_sequence: int
    retrieved_share: float  # of the ranker's events, how many retrieval had found
    two_tower: TwoTowerConfig  # what its checkpoint was made with
    records_revision: int  # changes of items up to this one are in


def write_release(
    releases: Path,
    clock: Clock,
    *,
    world: World,
    encoders: Encoders,
    tuned: TunedIndexes,
    crowd: Crowd,
    ranker: CompressedRanker,
    spec: FeatureSpec,
    step_graph: bytes,
    facts: ReleaseFacts,
    spare_rows: int,
) -> Release:
    """A new release under `releases`, not active yet, with so many rows kept free for items to come."""
    writer = ReleaseWriter(releases, clock)
    world.catalog.save(writer.add_array, writer.add_json, spare_rows)
    crowd.save(writer.add_array)
    for space in ("session", "user", "content"):
        table, index = getattr(encoders.vectors, space), getattr(tuned.indexes, space)
        if table is not None:
            writer.add_array(f"vectors.{space}", with_spare_rows(table, spare_rows))
            with TemporaryDirectory() as folder:
                path = Path(folder) / f"{space}.index"
                index.save(path)
                writer.add_file(f"index.{space}", path)
    writer.add_bytes("session_step", step_graph, ".onnx")
    writer.add_file("encoder.session", encoders.session_file)
    writer.add_file("encoder.two_tower", encoders.two_tower_file)
    if encoders.content is not None:
        _add_content(writer, encoders.content.text)
    _add_ranker(writer, ranker, spec, spare_rows)
    writer.add_json("facts", msgspec.to_builtins(facts))
    return writer.commit(dataset=facts.dataset, reports=_reports(tuned, ranker, facts))


def _add_content(writer: ReleaseWriter, text: ContentText) -> None:
    """What it takes to embed the text of an item posted later."""
    writer.add_json("content.terms", text.terms)
    writer.add_array("content.idf", text.idf)
    writer.add_array("content.projection", text.projection)


def _add_ranker(writer: ReleaseWriter, ranker: CompressedRanker, spec: FeatureSpec, spare_rows: int) -> None:
    depths: Sequence[int] = sorted(ranker.exported.int8_graphs)
    for depth in depths:
        writer.add_bytes(f"ranker.{exit_name(depth)}", ranker.exported.int8_graphs[depth], ".onnx")
    writer.add_array("ranker.item_hidden", with_spare_rows(ranker.exported.items.table, spare_rows))
    writer.add_array("ranker.item_weight", ranker.exported.items.weight)
    writer.add_array("ranker.item_offset", ranker.exported.items.offset)
    writer.add_json("ranker.exits", {"names": [exit_name(d) for d in depths], "default": ranker.default_exit})
    writer.add_json("ranker.spec", {"digest": spec.digest(), "features": msgspec.to_builtins(spec)})


def _reports(tuned: TunedIndexes, ranker: CompressedRanker, facts: ReleaseFacts) -> dict[str, Any]:
    return {
        "parity": [{**msgspec.to_builtins(each), "ndcg_loss": each.ndcg_loss} for each in ranker.parity],
        "indexes": {space: [msgspec.to_builtins(trial) for trial in trials] for space, trials in tuned.trials.items()},
        "retrieved_share": facts.retrieved_share,
    }
