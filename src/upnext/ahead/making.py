"""Answers into shortlists and back: the one way for requests, batch, prefetch and speculation alike."""

import numpy as np
import numpy.typing as npt

from upnext.funnel.answer import Answer, Ranked
from upnext.funnel.request import SlateRequest
from upnext.state.shortlist import Origin, Shortlist


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
        ranked.rows, ranked.scores, ranked.sources, lower.rows, lower.scores, lower.sources, head,
    )  # fmt: skip


def answer_of(shortlist: Shortlist, popular: Ranked, seen_rows: npt.NDArray[np.int32], state_version: int) -> Answer:
    """An answer as if the stages had just worked out what `shortlist` holds; only the rules are still to be applied."""
    below = Ranked("fast", shortlist.below_rows, shortlist.below_scores, shortlist.below_sources)
    return Answer(
        Ranked("full", shortlist.rows, shortlist.scores, shortlist.sources),
        below=[popular, below],
        state_version=state_version,
        n_interactions=shortlist.n_interactions,
        state_read=True,
        seen_rows=seen_rows,
        exit=shortlist.exit,
    )


def _cut(ranked: Ranked, n: int) -> Ranked:
    """The first `n`, in memory of their own: a view would keep all of what it is a part of."""
    return Ranked(ranked.tier, ranked.rows[:n].copy(), ranked.scores[:n].copy(), ranked.sources[:n].copy())
