"""Whether the active release is whole, fits this version, and agrees with its trained models; trains nothing."""

from contextlib import closing
from pathlib import Path
from typing import Any

from upnext.cli.doctor.check import Check, mebibytes, ok, problem, warning
from upnext.clock import Clock
from upnext.errors import UpnextError
from upnext.features.item_rows import item_tier
from upnext.funnel.live import open_live
from upnext.release.manifest import Manifest
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.store.opening import open_store

_GROUP = "release"
_DAY_MS = 86_400_000
OLD_DAYS = 30
# As in `compress.parity.ParityBounds`, which needs what learns to be imported.
MAX_NDCG_LOSS, MIN_RANK_AGREEMENT, MAX_FLOAT_ERROR = 0.005, 0.98, 5e-3
_ANOTHER = "activate another one (upnext release list, upnext release activate), or train anew"


def release_bytes(home: Path) -> int:
    """Size of the active release, 0 where there is none that can be read."""
    try:
        releases = Releases(home)
        active = releases.active_id()
        return _size(releases.manifest(active)) if active else 0
    except (UpnextError, OSError):
        return 0


def check_release(home: Path, settings: Settings, clock: Clock, *, quick: bool = False) -> list[Check]:
    """Of the active release. `quick`: without reading all its bytes, and without opening it as a server does."""
    releases = Releases(home)
    try:
        active = releases.active_id()
        if active is None:
            there = f"none of {len(releases.ids())} is active" if releases.ids() else "there is none"
            advice = f"make one: upnext train --home {home}; or activate one: upnext release activate"
            return [problem(_GROUP, "active", there, advice)]
        release = Release.open(releases.folder / active, verify=not quick)
    except (UpnextError, OSError) as error:
        return [problem(_GROUP, "whole", str(error), _ANOTHER)]
    manifest = release.manifest
    depth = "sizes only: leave out --quick to check digests" if quick else "all digests are right"
    checks = [
        ok(_GROUP, "active", f"{active}, {len(releases.ids())} in all"),
        ok(_GROUP, "whole", f"{len(manifest.parts)} parts, {mebibytes(_size(manifest))}; {depth}"),
        check_age(manifest, clock.now_ms()),
        check_parity(manifest.reports.get("parity") or []),
    ]
    return checks if quick else [*checks, _fit(release, home, settings, clock)]


def check_age(manifest: Manifest, now_ms: int) -> Check:
    """Whether it was made long ago."""
    days = (now_ms - manifest.created_ms) / _DAY_MS
    found = f"{days:,.1f} days; made by upnext {manifest.upnext}"
    if days > OLD_DAYS:
        return warning(_GROUP, "age", found, "train anew (upnext train), best by a scheduler every day or week")
    return ok(_GROUP, "age", found)


def check_parity(rows: list[dict[str, Any]]) -> Check:
    """Whether every exported graph ranks like the model it was made of. `rows`: of the release's report."""
    if not rows:
        return ok(_GROUP, "parity", "nothing was exported that could differ")
    outside = [f"exit {row['exit_depth']} {row['precision']}" for row in rows if not _is_inside(row)]
    if outside:
        return warning(_GROUP, "parity", f"rank unlike their trained models: {', '.join(outside)}", _ANOTHER)
    worst = min(row["rank_agreement"] for row in rows)
    return ok(_GROUP, "parity", f"{len(rows)} graphs rank like their models (agreement {worst:.3f} or better)")


def _is_inside(row: dict[str, Any]) -> bool:
    loss = row["ndcg_loss"] * row["ndcg_trained"]
    return bool(
        loss <= MAX_NDCG_LOSS * row["ndcg_trained"] + 2 * row["ndcg_loss_error"]
        and row["rank_agreement"] >= MIN_RANK_AGREEMENT
        and (row["precision"] != "float32" or row["max_score_error"] <= MAX_FLOAT_ERROR)
    )


def _fit(release: Release, home: Path, settings: Settings, clock: Clock) -> Check:
    """Opens it as a worker does: parts, widths, features and graphs."""
    try:
        if settings.items.tier == "store":
            with closing(open_store(home, settings.store, clock)) as store:
                live = open_live(release, settings, clock, tier=item_tier(store, settings.items))
        else:
            live = open_live(release, settings, clock)
    except UpnextError as error:
        return problem(_GROUP, "fits this version", str(error), _ANOTHER)
    catalog, vectors = live.funnel.catalog, live.funnel.vectors
    tables = ((name, getattr(vectors, name)) for name in vectors.__dataclass_fields__)
    widths = ", ".join(f"{name} {table.shape[1]}" for name, table in tables if table is not None)
    return ok(_GROUP, "fits this version", f"{catalog.n_items:,} rows of items; widths of vectors: {widths}")


def _size(manifest: Manifest) -> int:
    return sum(part.bytes for part in manifest.parts.values())
