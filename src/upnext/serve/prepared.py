"""A slate made once and ready for the wire, for as long as making it again would change nothing."""

from dataclasses import dataclass

import msgspec
import numpy as np

from upnext.funnel.answer import Answer, Slate
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.serve.slate_items import items_of

_encoder = msgspec.json.Encoder()


@dataclass(slots=True, frozen=True)
class Prepared:
    """What the rules made of a ranking for a request that excludes nothing.

    Rules are pure, so they make the same of it until an item changes (`version`), or one begins or ceases to be fresh
    (`until_ms`).
    """

    k: int
    version: int  # of the re-ranker, as of before
    until_ms: float  # since 1970
    answer: Answer
    slate: Slate
    item_ids: list[str]
    items: msgspec.Raw  # as JSON

    def serves(self, request: SlateRequest, live: Live, now_ms: int) -> bool:
        """Whether `request`, of the user, region and filter that the ranking is for, would get the same."""
        same = self.k == request.k and self.version == live.funnel.reranker.version
        return same and now_ms < self.until_ms and not len(request.exclude_rows)


def prepared_of(request: SlateRequest, answer: Answer, live: Live, now_ms: int) -> Prepared | None:
    """The slate of what `answer` holds, for `request` and others like it.

    None where it depends on more than the ranking that `answer` holds: on what fills it up, or on what is excluded.
    """
    reranker, ranked = live.funnel.reranker, answer.ranked
    version = reranker.version  # first: what changes meanwhile is told from what was there
    kept = np.count_nonzero(reranker.keep(ranked.rows, request, answer.seen_rows))
    if len(request.exclude_rows) or kept < request.k:
        return None
    answer.slate = slate = live.funnel.finish(request, answer)
    items = items_of(slate, live, explain=False)
    return Prepared(
        request.k,
        version,
        reranker.holds_until_ms(ranked.rows, now_ms),
        answer,
        slate,
        [item.item_id for item in items],
        msgspec.Raw(_encoder.encode(items)),
    )
