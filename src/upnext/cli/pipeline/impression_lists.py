"""Served slates as lists to learn ranking from: what was shown, with the features as served, and what was chosen."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock
from upnext.domain.identity import keys_of
from upnext.errors import ReleaseError
from upnext.features.spec import FeatureSpec
from upnext.ingest.served import JoinedSlate
from upnext.ingest.served_slates import ServedSlates
from upnext.models.ranker_lists import RankerLists
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import ImpressionSettings

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
_List = tuple[Rows, Floats, Floats, int]  # rows, cross and user features, the target's place


def impression_lists(
    slates: Iterable[JoinedSlate],
    catalog: Catalog,
    item_inputs: Floats,
    spec: FeatureSpec,
    releases: Collection[str] | None = None,
) -> RankerLists:
    """A list for every slate from which something was chosen and which has features of this very `spec`.

    The target is what was chosen first. Whatever else was chosen is left out, since it is no wrong answer; so are
    items that were not ranked, or that `catalog` does not have. What is left must be more than the target.
    `item_inputs` (n_items, n_item_features) in rows of `catalog`. User features hold vectors of the encoders that
    served, which `spec` does not tell apart: `releases` names those with the encoders to train for, None for all.
    """
    digest = spec.digest()
    lists: list[_List] = []
    for joined in slates:
        if joined.slate.spec == digest and (releases is None or joined.slate.release in releases):
            made = _list_of(joined, catalog)
            if made is not None:
                lists.append(made)
    n_candidates = max((len(rows) for rows, _, _, _ in lists), default=0)
    rows = np.full((len(lists), n_candidates), -1, np.int32)
    cross = np.zeros((len(lists), n_candidates, len(spec.cross)), np.float32)
    user = np.zeros((len(lists), len(spec.user)), np.float32)
    target = np.zeros(len(lists), np.int32)
    for place, (its_rows, its_cross, its_user, its_target) in enumerate(lists):
        rows[place, : len(its_rows)] = its_rows
        cross[place, : len(its_rows)] = its_cross
        user[place] = its_user
        target[place] = its_target
    return RankerLists(item_inputs, user, rows, cross, target)


def usable_impressions(
    home: Path, catalog: Catalog, item_inputs: Floats, spec: FeatureSpec, encoders: str, clock: Clock
) -> RankerLists | None:
    """The lists of all slates kept in `home` that were served with these encoders; None where there are none.

    Position-agnostic: a choice at the top counts as one further down, though it was seen more often.
    """
    if not (home / "served").is_dir():
        return None
    releases = Releases(home)
    fit = {each for each in releases.ids() if _encoders_of(releases, each) == encoders}
    if not fit:
        return None
    served = ServedSlates(home / "served", ImpressionSettings(), clock)
    try:
        lists = impression_lists(served.all(), catalog, item_inputs, spec, fit)
    finally:
        served.close()
    return lists if len(lists) else None


def with_impressions(lists: RankerLists, impressions: RankerLists | None, weight: float) -> RankerLists:
    """Both, the impressions counting `weight` each; nothing is known of how what was chosen in them was liked."""
    if impressions is None:
        return lists
    width = max(lists.n_candidates, impressions.n_candidates)
    unknown = np.full((len(impressions), lists.labels().shape[1]), np.nan, np.float32)
    return RankerLists(
        item_inputs=lists.item_inputs,
        user=np.concatenate([lists.user, impressions.user]),
        rows=np.concatenate([_padded(each.rows, width, -1) for each in (lists, impressions)]),
        cross=np.concatenate([_padded(each.cross.astype(np.float16), width, 0) for each in (lists, impressions)]),
        target=np.concatenate([lists.target, impressions.target]),
        tasks=np.concatenate([lists.labels(), unknown]),
        weights=np.concatenate([lists.counts(), np.full(len(impressions), weight, np.float32)]),
    )


def _padded(part: npt.NDArray[Any], width: int, value: int) -> npt.NDArray[Any]:
    missing = [(0, 0)] * part.ndim
    missing[1] = (0, width - part.shape[1])
    return np.pad(part, missing, constant_values=value)


def _encoders_of(releases: Releases, release_id: str) -> str | None:
    try:
        return str(Release.open(releases.folder / release_id, verify=False).json("facts")["encoders"])
    except ReleaseError:
        return None


def _list_of(joined: JoinedSlate, catalog: Catalog) -> _List | None:
    slate, choices = joined.slate, joined.choices()
    first = next(iter(choices), None)
    if first is None:
        return None
    rows, cross = catalog.rows_of(keys_of(slate.item_ids)), slate.cross_features()
    wrong = np.array([item_id == first or item_id not in choices for item_id in slate.item_ids])
    kept = np.flatnonzero((rows >= 0) & np.isfinite(cross).all(axis=1) & wrong)
    at = np.flatnonzero(kept == slate.item_ids.index(first))
    if not len(at) or len(kept) < 2:
        return None
    return rows[kept], cross[kept], slate.user_features(), int(at[0])
