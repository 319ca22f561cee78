"""The ranker of a release, whatever its kind, and its table of items; knows nothing of the other stages."""

from collections.abc import Callable
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.errors import ReleaseError
from upnext.features.probability import Calibration
from upnext.features.tree_inputs import plain_columns
from upnext.funnel.ranking.item_side import FoldedSide, ItemSide, RawSide, Table
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.funnel.ranking.trees import TreeRanker, open_booster
from upnext.release.onnx_session import open_session
from upnext.release.release import Release
from upnext.settings import RankingSettings

KINDS = ("dnn", "trees", "graph")
HIDDEN, INPUTS = "ranker.item_hidden", "ranker.item_inputs"
"""Parts of a release: the folded item side, or the raw inputs of items that a ranker of that kind reads."""


def ranker_kind(release: Release) -> str:
    """One of KINDS; "" for a release without a ranker."""
    if "ranker.exits" not in release:
        return ""
    return str(release.json("ranker.kind")) if "ranker.kind" in release else "dnn"


def open_ranker(
    release: Release, by_row: Callable[[str], npt.NDArray[Any]], settings: RankingSettings
) -> tuple[GraphRanker | TreeRanker | None, ItemSide | None]:
    """The ranker, and what it keeps of items where new ones can be put into it; `by_row` gives a table by its name.

    Both None for a release without a ranker. Raises `ReleaseError` for a kind that this version does not know, for an
    exit that the settings name and the release lacks, and where a package is missing.
    """
    kind = ranker_kind(release)
    if not kind:
        return None, None
    if kind not in KINDS:
        raise ReleaseError(
            f"release {release.id} has a ranker of kind {kind!r}, this version knows {', '.join(KINDS)}; "
            "upgrade upnext or activate another release"
        )
    exits = release.json("ranker.exits")
    if settings.exit and settings.exit not in exits["names"]:
        raise ReleaseError(
            f"ranking.exit is {settings.exit!r}, but release {release.id} has {', '.join(exits['names'])}; "
            "change the setting"
        )
    table = by_row(INPUTS if INPUTS in release else HIDDEN)
    if kind == "trees":
        return _trees(release, table, exits, settings), item_side(release, table)
    features = _features(release)
    graphs = {name: open_session(release.path(f"ranker.{name}")) for name in exits["names"]}
    ranker = GraphRanker(
        graphs, table, default_exit=exits["default"], chunk=settings.chunk, n_user=len(features.get("user", ())),
        n_cross=len(features.get("cross", ())), calibration=_calibration(release),
    )  # fmt: skip
    return ranker, item_side(release, table)


def item_side(release: Release, table: Table) -> ItemSide | None:
    """How new rows of the ranker's `table` are made."""
    if INPUTS in release:
        return RawSide(table, release.json("ranker.item_columns"))
    if "ranker.item_weight" in release:
        return FoldedSide(table, release.array("ranker.item_weight"), release.array("ranker.item_offset"))
    return None


def _trees(release: Release, table: Table, exits: dict[str, Any], settings: RankingSettings) -> TreeRanker:
    features = _features(release)
    return TreeRanker(
        open_booster(release.path("ranker.trees").read_bytes()),
        cast(npt.NDArray[np.float32], table),
        plain_columns(tuple(features["user"])),
        n_user=len(features["user"]),
        n_cross=len(features["cross"]),
        exits=exits["trees"],
        default_exit=exits["default"],
        chunk=settings.chunk,
        calibration=_calibration(release),
    )


def _calibration(release: Release) -> dict[str, Calibration]:
    if "ranker.calibration" not in release:
        return {}
    return msgspec.convert(release.json("ranker.calibration"), dict[str, Calibration])


def _features(release: Release) -> dict[str, list[str]]:
    features: dict[str, list[str]] = release.json("ranker.spec").get("features", {})
    return features
