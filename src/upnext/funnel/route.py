"""The decision matrix: whether a request is answered from what was worked out before, and why; one table, pure.

| what is at hand                                              | route         | work in the request            |
|--------------------------------------------------------------|---------------|--------------------------------|
| what an ordinary request of the same user worked out         | `shortlist`   | re-ranking                     |
| what the batch worked out for one of the most active users   | `precomputed` | one read, re-ranking           |
| what a pause or the opening of the app called for            | `prefetched`  | one read, re-ranking           |
| nothing, or nothing that still holds                         | `live`        | the whole funnel               |
"""

from typing import NamedTuple

from upnext.funnel.ranking.depth import Depths
from upnext.funnel.request import SlateRequest
from upnext.settings import AheadSettings
from upnext.state.shortlist import Origin, Shortlist

ROUTES = ("live", "shortlist", "precomputed", "prefetched")
_ROUTE_OF: dict[Origin, str] = {
    "live": "shortlist",
    "precompute": "precomputed",
    "prefetch": "prefetched",
    "speculation": "prefetched",
}


class Route(NamedTuple):
    """One of `ROUTES`, and the one reason for it."""

    name: str
    why: str  # unchanged; or of `live`: absent, release, chosen, expired, filter, depth, short, shared


LIVE_ABSENT = Route("live", "absent")
LIVE_SHORT = Route("live", "short")


def route_of(
    request: SlateRequest,
    shortlist: Shortlist | None,
    *,
    release: str,
    n_moves: int,
    now_ms: int,
    depths: Depths | None,
    settings: AheadSettings,
) -> Route:
    """The route of `request`, given what is at hand for its user, whose state counts `n_moves` by now.

    `short`, that too little is left of a shortlist for a whole slate, shows only after re-ranking.
    """
    if shortlist is None:
        return LIVE_ABSENT
    if shortlist.release != release:
        return Route("live", "release")
    if shortlist.n_moves != n_moves:
        return Route("live", "chosen")
    age_ms = settings.precomputed_age_ms if shortlist.origin == "precompute" else settings.live_age_ms
    if not -age_ms < now_ms - shortlist.made_ms < age_ms:  # a date in the future is another machine's
        return Route("live", "expired")
    if (shortlist.region, shortlist.genres) != (request.region, request.genres):
        return Route("live", "filter")
    if depths is None or not depths.suffices(shortlist.exit, request.mode, request.quality):
        return Route("live", "depth")
    return Route(_ROUTE_OF[shortlist.origin], "unchanged")
