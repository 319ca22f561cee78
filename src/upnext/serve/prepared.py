"""A slate from a shortlist, made once and ready for the wire, for as long as making it again would change nothing."""

from dataclasses import dataclass

import msgspec

from upnext.funnel.answer import Answer, Slate
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest


@dataclass(slots=True, frozen=True)
class Prepared:
    """What the rules made of a shortlist for a request that excludes nothing.

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
        """Whether `request`, which the shortlist is for, would get the same."""
        same = self.k == request.k and self.version == live.funnel.reranker.version
        return same and now_ms < self.until_ms and not len(request.exclude_rows)
