"""How old a candidate is, at the moment of the request and next to what the user chose."""

import numpy as np

from upnext.features.columns.core import Column
from upnext.features.item_facts import NEVER_MS
from upnext.features.look import Floats, Look
from upnext.settings import HOUR_MS


def _published_hours(look: Look) -> Floats:
    published_ms = look.facts.published_ms.take(look.places)
    hours = np.maximum(look.now_ms - published_ms, 0) / HOUR_MS
    return np.where(published_ms == NEVER_MS, 0.0, hours).astype(np.float32)


def _seen_hours(look: Look) -> Floats:
    seen_ms = look.crowd.trends.first_seen_ms.take(look.places)
    return np.where(seen_ms == NEVER_MS, 0, np.maximum(look.now_ms - seen_ms, 0) / HOUR_MS).astype(np.float32)


def _pace(look: Look) -> Floats:
    found: Floats = look.log_counts[:, 2] - np.log1p(look.age_hours / 24.0).astype(np.float32)
    return found


def _decades_from(look: Look, year: float) -> Floats:
    """|decades| between the item's publication and `year`, 0 where either is not known."""
    found: Floats = np.nan_to_num(np.abs(look.facts.years(look.places) - np.float32(year)) / 10, nan=0.0)
    return found


def _decades_from_mean(look: Look) -> Floats:
    return _decades_from(look, float(look.years.mean())) if len(look.years) else look.zeros


def _decades_from_last(look: Look) -> Floats:
    return _decades_from(look, float(look.facts.years(look.last5[:1])[0])) if len(look.last5) else look.zeros


COLUMNS: dict[str, Column] = {
    # log of hours since it was published, since it was first seen; 0 where not known
    "age_published": lambda look: np.log1p(_published_hours(look)),
    "age_seen": lambda look: np.log1p(_seen_hours(look)),
    # 1 at its beginning, half as much each hour, day, week and 30 days; 0 where its age is not known
    "fresh_hour": lambda look: look.freshness(1),
    "fresh_day": lambda look: look.freshness(24),
    "fresh_week": lambda look: look.fresh_week,
    "fresh_month": lambda look: look.freshness(30 * 24),
    # root of its age in years
    "age_root": lambda look: np.sqrt(look.age_hours / (24 * 365.25)).astype(np.float32),
    "age_known": lambda look: (look.since_ms != NEVER_MS).astype(np.float32),
    # log of weekly interactions against log of days: how much it is chosen for its age
    "pace": _pace,
    # decades between its publication and the mean of the recent items', the newest item's
    "era_distance": _decades_from_mean,
    "era_last": _decades_from_last,
}
