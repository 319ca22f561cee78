"""A ranker or session step trained elsewhere, put into the place of a release's own: checked, measured, written."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from upnext.cli.pipeline.trees import add_trees, p50_us, tree_ranker
from upnext.clock import SystemClock
from upnext.errors import ReleaseError
from upnext.features.spec import FeatureSpec
from upnext.features.tree_inputs import plain_columns, tree_column_names
from upnext.funnel.live import Live, open_live
from upnext.funnel.ranking.opening import HIDDEN, INPUTS
from upnext.funnel.ranking.trees import open_booster, tree_exit
from upnext.release.graft import copy_parts
from upnext.release.own_graph import checked_ranker, checked_step
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.release.writer import ReleaseWriter
from upnext.settings import RankingSettings, Settings

OWN_EXIT = "own"
_FOLDED = (HIDDEN, "ranker.item_weight", "ranker.item_offset")
_USUAL_EXITS = (50, 150)


def graft(
    release: Release,
    releases: Releases,
    *,
    ranker: Path | None = None,
    trees: Path | None = None,
    session_step: Path | None = None,
    exits: Sequence[int] = (),
) -> Release:
    """A new release, not active, with an ONNX ranker or trees of XGBoost, and/or an ONNX session step, of one's own.

    `exits`: numbers of trees after which the ranker may answer; none: the usual ones. Raises `ReleaseError`, and
    leaves nothing behind, where a file does not fit the release.
    """
    if (ranker is None) == (trees is None) and (ranker is not None or session_step is None):
        raise ReleaseError("give one of --ranker and --trees, or --session-step, or both a ranker and a step")
    settings = Settings(ranking=RankingSettings(exit=""))
    live = open_live(release, settings, SystemClock())
    reports: dict[str, Any] = dict(release.manifest.reports)
    with releases.writer() as writer:
        replaced = _Replaced()
        if ranker is not None:
            reports["ranker"] = _graft_graph(writer, release, live, ranker, replaced)
        if trees is not None:
            reports["ranker"] = _graft_trees(writer, live, trees, tuple(exits), replaced)
        if session_step is not None:
            reports["session_step"] = _graft_step(writer, release, live, session_step, replaced)
        if ranker is not None or trees is not None:
            reports |= {"parity": [], "calibration": []}  # were those of the ranker that went
        copy_parts(release, writer, replaced.leaves_out)
        notes = f"grafted onto {release.id}"
        return writer.commit(dataset=release.manifest.dataset, parent=release.id, notes=notes, reports=reports)


class _Replaced:
    """Which parts of the old release are not taken over."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.ranker = False  # all that begins with `ranker.`, but for …
        self.kept: set[str] = set()

    def leaves_out(self, name: str) -> bool:
        return name in self.names or (self.ranker and name.startswith("ranker.") and name not in self.kept)


def _graft_graph(
    writer: ReleaseWriter, release: Release, live: Live, path: Path, replaced: _Replaced
) -> dict[str, Any]:
    spec, content = live.funnel.assembler.spec, _read(path)
    widths = {"user": len(spec.user), "cross": len(spec.cross), "item": len(spec.item)}
    if HIDDEN in release:
        widths["item_hidden"] = release.array(HIDDEN).shape[1]
    session, took_us = checked_ranker(content, widths)
    replaced.ranker = True
    writer.add_json("ranker.kind", "graph")
    writer.add_bytes(f"ranker.{OWN_EXIT}", content, ".onnx")
    writer.add_json("ranker.exits", {"names": [OWN_EXIT], "default": OWN_EXIT})
    if "item_hidden" in {each.name for each in session.get_inputs()}:
        replaced.kept.update(_FOLDED)
    else:
        _add_items(writer, live, list(range(len(spec.item))))
    _add_spec(writer, spec)
    return {"kind": "own graph", "file": path.name, "bytes": len(content), "p50_us": took_us}


def _graft_trees(
    writer: ReleaseWriter, live: Live, path: Path, asked: tuple[int, ...], replaced: _Replaced
) -> dict[str, Any]:
    spec, content = live.funnel.assembler.spec, _read(path)
    booster, names = open_booster(content), tree_column_names(spec)
    given = booster.feature_names
    if booster.num_features() != len(names) or (given is not None and list(given) != names):
        raise ReleaseError(
            f"the trees of {path} read {booster.num_features()} columns {_some(given)}, but a candidate has "
            f"{len(names)}: {_some(names)}; train them on the `trees` columns of `upnext release inputs`"
        )
    n_trees = booster.num_boosted_rounds()
    exits = (*(count for count in sorted(set(asked or _USUAL_EXITS)) if 0 < count < n_trees), n_trees)
    columns = plain_columns(spec.item)
    items = live.funnel.assembler.items(live.funnel.crowd.trends)[:, columns]
    ranker = tree_ranker(content, items, spec, exits)
    asked_of = ranker.made_up_inputs(len(items[:500]))
    scores = ranker.score(asked_of.rows, asked_of.user, asked_of.cross, tree_exit(n_trees))
    if not np.isfinite(scores).all():
        raise ReleaseError(f"the trees of {path} give scores that are not finite; look for infinite leaves")
    replaced.ranker = True
    add_trees(writer, content, exits, tree_exit(n_trees))
    _add_items(writer, live, columns)
    _add_spec(writer, spec)
    took_us = {tree_exit(count): p50_us(ranker, tree_exit(count)) for count in exits}
    return {"kind": "own trees", "file": path.name, "bytes": len(content), "p50_us": took_us}


def _graft_step(writer: ReleaseWriter, release: Release, live: Live, path: Path, replaced: _Replaced) -> dict[str, Any]:
    """The new step's states are not the old one's: another name of the encoders keeps them apart in the store."""
    if live.funnel.vectors.session is None:
        raise ReleaseError(
            f"release {release.id} has no session vectors that a step could go on from; train one that has"
        )
    content = _read(path)
    _, took_us = checked_step(content, live.funnel.vectors.session.shape[1] - 1)
    facts = dict(release.json("facts"))
    facts["encoders"] = hashlib.sha256(facts["encoders"].encode() + content).hexdigest()[:16]
    facts["session_step"] = "own graph"
    replaced.names.update(("session_step", "facts"))
    writer.add_bytes("session_step", content, ".onnx")
    writer.add_json("facts", facts)
    return {"kind": "own graph", "file": path.name, "bytes": len(content), "p50_us": took_us}


def _add_items(writer: ReleaseWriter, live: Live, columns: list[int]) -> None:
    """Raw inputs of all items, spare rows included, as the crowd of the release sees them."""
    writer.add_array(INPUTS, live.funnel.assembler.items(live.funnel.crowd.trends)[:, columns])
    writer.add_json("ranker.item_columns", columns)


def _add_spec(writer: ReleaseWriter, spec: FeatureSpec) -> None:
    writer.add_json("ranker.spec", {"digest": spec.digest(), "features": msgspec.to_builtins(spec)})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read ({error}); check the path") from error


def _some(names: Sequence[str] | None) -> str:
    return "(unnamed)" if names is None else ", ".join([*names[:4], "…"] if len(names) > 4 else names)
