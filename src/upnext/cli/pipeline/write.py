"""Step four: everything into one release folder."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from upnext.catalog.spare import with_spare_rows
from upnext.cli.pipeline.compression import CompressedRanker, exit_name
from upnext.cli.pipeline.encoders import NAMES_PART, Encoders
from upnext.cli.pipeline.indexes import TunedIndexes
from upnext.cli.pipeline.trees import GrownTrees
from upnext.cli.pipeline.world import World
from upnext.clock import Clock
from upnext.compress.kept import PART as KEPT_PART
from upnext.compress.kept import KeptRanker, write_kept
from upnext.compress.pareto import pareto_png
from upnext.compress.step_choice import ChosenStep
from upnext.features.content_text import ContentText
from upnext.features.neighbours import LOOK_PART
from upnext.features.session_inputs import InputTables
from upnext.features.spec import FeatureSpec
from upnext.funnel.retrieval.weights import WEIGHTS_PART
from upnext.models.content_map import fit_content_map
from upnext.models.two_tower import TwoTowerConfig
from upnext.release.release import Release
from upnext.release.writer import ReleaseWriter
from upnext.state.crowd import Crowd
from upnext.training.calibration import CalibrationReport
from upnext.training.feature_report import FeatureReport, features_png
from upnext.training.merge_weights import MergeWeights


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
    made_by: Literal["training", "update"] = "training"
    updated_from: str = ""  # the release that an update went on from
    updates: int = 0  # how many since everything was trained


def write_release(
    releases: Path,
    clock: Clock,
    *,
    world: World,
    encoders: Encoders,
    tuned: TunedIndexes,
    crowd: Crowd,
    ranker: CompressedRanker | GrownTrees,
    spec: FeatureSpec,
    step: ChosenStep,
    facts: ReleaseFacts,
    spare_rows: int,
    features: FeatureReport | None = None,
    merge: MergeWeights | None = None,
    calibration: Sequence[CalibrationReport] = (),
) -> Release:
    """A new release under `releases`, not active yet, with so many rows kept free for items to come."""
    writer = ReleaseWriter(releases, clock)
    world.catalog.save(writer.add_array, writer.add_json, spare_rows)
    crowd.save(writer.add_array)
    _add_spaces(writer, encoders, tuned, spare_rows)
    _add_session(writer, encoders.session.input_tables(), step)
    writer.add_file("encoder.session", encoders.session_file)
    writer.add_file("encoder.two_tower", encoders.two_tower_file)
    if encoders.names is not None:
        writer.add_json(NAMES_PART, encoders.names)
    if encoders.content is not None:
        _add_content(writer, encoders.content.text)
        if encoders.vectors.content is not None and encoders.vectors.session is not None:
            mapped = fit_content_map(encoders.vectors.content, encoders.vectors.session[:, :-1])
            writer.add_array("content.to_session", mapped)
    if isinstance(ranker, GrownTrees):
        ranker.add_to(writer, spec, spare_rows)
    else:
        _add_ranker(writer, ranker, spec, spare_rows)
    writer.add_json("facts", msgspec.to_builtins(facts))
    reports = _reports(tuned, ranker, facts)
    writer.add_json("ranker.calibration", {each.exit: each.calibration for each in calibration})
    reports["calibration"] = msgspec.to_builtins(calibration)
    reports["session_step"] = {"precision": step.precision, "trials": msgspec.to_builtins(step.trials)}
    if merge is not None:
        writer.add_json(WEIGHTS_PART, merge.weights)
        reports["merge"] = msgspec.to_builtins(merge)
    if features is not None:
        writer.add_bytes("report.features", features_png(features), ".png")
        reports["features"] = msgspec.to_builtins(features)
    if facts.made_by == "training":
        return writer.commit(dataset=facts.dataset, reports=reports)
    notes = f"update {facts.updates} since the training, of {facts.updated_from}"
    reports["made_by"] = {"kind": "update", "updated_from": facts.updated_from, "updates": facts.updates}
    return writer.commit(dataset=facts.dataset, parent=facts.updated_from, notes=notes, reports=reports)


def _add_spaces(writer: ReleaseWriter, encoders: Encoders, tuned: TunedIndexes, spare_rows: int) -> None:
    """Items' vectors with their indexes, and the lists of their neighbours."""
    for space in ("session", "user", "content"):
        table, index = getattr(encoders.vectors, space), getattr(tuned.indexes, space)
        if table is not None:
            writer.add_array(f"vectors.{space}", with_spare_rows(table, spare_rows))
            with TemporaryDirectory() as folder:
                path = Path(folder) / f"{space}.index"
                index.save(path)
                writer.add_file(f"index.{space}", path)
    if encoders.vectors.unlearnt is not None:
        encoders.vectors.unlearnt.save(writer.add_array)
    if encoders.neighbours is not None:
        writer.add_array("neighbours.rows", with_spare_rows(encoders.neighbours.rows, spare_rows, -1))
        if tuned.indexes.neighbours is not None:
            writer.add_json(LOOK_PART, msgspec.to_builtins(tuned.indexes.neighbours.look))
        writer.add_array("neighbours.weights", with_spare_rows(encoders.neighbours.weights, spare_rows))


def _add_session(writer: ReleaseWriter, tables: InputTables, step: ChosenStep) -> None:
    """The step and what is added to an item's vector before it."""
    writer.add_bytes("session_step", step.graph, ".onnx")
    for name in ("actions", "gaps", "values"):
        table = getattr(tables, name)
        if table is not None:
            writer.add_array(f"session.{name}", table)
    if tables.values is not None:
        writer.add_json("session.value_edges", tables.value_edges.tolist())


def _add_content(writer: ReleaseWriter, text: ContentText) -> None:
    """What it takes to embed the text of an item posted later."""
    writer.add_json("content.terms", text.terms)
    writer.add_array("content.idf", text.idf)
    writer.add_array("content.projection", text.projection)


def _add_ranker(writer: ReleaseWriter, ranker: CompressedRanker, spec: FeatureSpec, spare_rows: int) -> None:
    served = ranker.served
    depths: Sequence[int] = sorted(served.graphs)
    for depth in depths:
        writer.add_bytes(f"ranker.{exit_name(depth)}", served.graphs[depth], ".onnx")
    writer.add_array("ranker.item_hidden", with_spare_rows(served.items.table, spare_rows))
    writer.add_array("ranker.item_weight", served.items.weight)
    writer.add_array("ranker.item_offset", served.items.offset)
    writer.add_json("ranker.exits", {"names": [exit_name(d) for d in depths], "default": ranker.default_exit})
    writer.add_json("ranker.spec", {"digest": spec.digest(), "features": msgspec.to_builtins(spec)})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ranker.pt"
        write_kept(path, KeptRanker(ranker.models, served.choices, ranker.default_exit))
        writer.add_file(KEPT_PART, path)
    if len(ranker.rows) > len(depths):  # more was tried than is served
        title = f"exits, widths and precisions of the ranker on {ranker.parity[0].n_lists:,} lists kept back"
        writer.add_bytes("report.pareto", pareto_png(ranker.rows, list(served.choices.values()), title), ".png")


def _reports(tuned: TunedIndexes, ranker: CompressedRanker | GrownTrees, facts: ReleaseFacts) -> dict[str, Any]:
    if isinstance(ranker, GrownTrees):
        of_ranker = {"parity": [], "trees": msgspec.to_builtins(ranker.exits), "gains": ranker.trees.gains}
    else:
        of_ranker = {
            "parity": [{**msgspec.to_builtins(each), "ndcg_loss": each.ndcg_loss} for each in ranker.parity],
            "worth_learning": msgspec.to_builtins(ranker.worth),
            "sweep": [
                {**msgspec.to_builtins(row), "chosen": row in ranker.served.choices.values()} for row in ranker.rows
            ],
        }
    return {
        **of_ranker,
        "indexes": {space: [msgspec.to_builtins(trial) for trial in trials] for space, trials in tuned.trials.items()},
        "retrieved_share": facts.retrieved_share,
    }
