"""Answers into shortlists and back: the one way for requests, batch, prefetch and speculation alike."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.funnel.answer import Answer, Ranked
from upnext.funnel.request import SlateRequest, known_names
from upnext.funnel.route import Route
from upnext.state.shortlist import Origin, Shortlist

_K = 20  # a shortlist answers for any


def request_of(subject: str, region: str, catalog: Catalog) -> SlateRequest:
    """What a user of that region ("" where none is known) is likely to ask for: a slate without a filter."""
    name = region_of(region, catalog)
    return SlateRequest(subject=subject, k=_K, region=name, allowed=catalog.allowed(region=region) if name else None)


def region_of(region: str, catalog: Catalog) -> str:
    """As requests name it: "" where items have none; those that no item names select alike, and have one name."""
    return known_names([region], catalog.regions)[0] if region and catalog.regions else ""


def shortlist_of(
    request: SlateRequest, answer: Answer, *, release: str, now_ms: int, origin: Origin, below: int, head: bool = False
) -> Shortlist | None:
    """What `answer` holds, through with all stages, as the shortlist of the request's user.

    At most `below` candidates of the fast tier are kept beside the ranked ones. None where it should not answer again:
    it did not get to the full tier, a stage was left out, the user's state was not read, or items that another request
    may want were excluded.
    """
    ranked = answer.ranked
    whole = ranked.tier == "full" and answer.slate is not None and not answer.degraded
    if not whole or not answer.state_read or len(request.exclude_rows):
        return None
    fast = next((each for each in reversed(answer.below) if each.tier == "fast"), None)
    lower = _cut(fast if fast is not None else ranked, below)
    return Shortlist(
        release, answer.n_interactions, now_ms, origin, request.region, request.genres, answer.exit,
        ranked.rows, ranked.scores, ranked.sources, lower.rows, lower.scores, lower.sources, head, answer.n_moves,
    )  # fmt: skip


def is_enough(shortlist: Shortlist, request: SlateRequest) -> bool:
    """Whether a whole slate is left of it, whatever the request excludes."""
    return len(shortlist.rows) - len(request.exclude_rows) >= request.k


def answer_of(
    shortlist: Shortlist, popular: Ranked, seen_rows: npt.NDArray[np.int32], state_version: int, route: Route
) -> Answer:
    """An answer as if the stages had just worked out what `shortlist` holds; only the rules are still to be applied."""
    below = Ranked("fast", shortlist.below_rows, shortlist.below_scores, shortlist.below_sources)
    return Answer(
        Ranked("full", shortlist.rows, shortlist.scores, shortlist.sources),
        below=[popular, below],
        state_version=state_version,
        n_interactions=shortlist.n_interactions,
        n_moves=shortlist.n_moves,
        state_read=True,
        seen_rows=seen_rows,
        exit=shortlist.exit,
        route=route.name,
        why=route.why,
    )


def take_shortlist(answer: Answer, shortlist: Shortlist, route: Route) -> None:
    """Lets `answer`, whose user's state was just read, hold what `shortlist` does."""
    answer.exit, answer.route, answer.why, answer.shortlist = shortlist.exit, route.name, route.why, shortlist
    answer.offer(Ranked("fast", shortlist.below_rows, shortlist.below_scores, shortlist.below_sources))
    answer.offer(Ranked("full", shortlist.rows, shortlist.scores, shortlist.sources))


def shared(answer: Answer) -> Answer:
    """What another request of the same user has worked out, or has so far, for one that waited beside it."""
    return replace(
        answer,  # `ranked` is read first: see `Answer`
        below=list(answer.below),
        degraded=list(answer.degraded),
        timing_ms={},
        slate=None,
        capture=False,
        inputs=None,
        running=[],
        why="shared",
    )


def _cut(ranked: Ranked, n: int) -> Ranked:
    """The first `n`, in memory of their own: a view would keep all of what it is a part of."""
    return Ranked(ranked.tier, ranked.rows[:n].copy(), ranked.scores[:n].copy(), ranked.sources[:n].copy())
