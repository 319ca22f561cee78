"""GET /v1/items/{id}/similar and /v1/popular: slates that need no user."""

from urllib.parse import parse_qs

import numpy as np
import numpy.typing as npt
from starlette.types import Receive, Scope

from upnext.clock import Deadline
from upnext.features.spec import SOURCE_BIT
from upnext.funnel.answer import Ranked
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.serve.engine import Engine
from upnext.serve.http import failure
from upnext.serve.messages import ItemsResponse
from upnext.serve.recommend import live_or_503
from upnext.serve.slate_items import items_of

_NO_ROWS: npt.NDArray[np.int32] = np.empty(0, np.int32)


class Lookups:
    """Answers from the release and the crowd alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def popular(self, scope: Scope, receive: Receive) -> ItemsResponse:
        """What the crowd chooses now; query: k, genre (may repeat), region."""
        live = live_or_503(self._engine)
        self._engine.items.heed(live)
        query = parse_qs(scope["query_string"].decode())
        request = self._request(live, query)
        return self._slate(live, live.funnel.popular(), request)

    async def similar(self, scope: Scope, receive: Receive) -> ItemsResponse:
        """The items nearest to one, in the first of the user, session and content spaces that knows it; query: k."""
        live = live_or_503(self._engine)
        self._engine.items.heed(live)
        item_id = scope["path_params"]["item_id"]
        row = live.funnel.catalog.row_of(item_id)
        if row < 0:
            raise failure(
                404,
                "unknown_item",
                f"release {live.release_id} has no item {item_id!r}; post it to /v1/items, or import it and train",
            )
        request = self._request(live, parse_qs(scope["query_string"].decode()), exclude_row=row)
        deadline = Deadline.after(self._engine.clock, self._engine.settings.budget.full_ms)
        found: list[Ranked] = []
        await self._engine.compute.run(lambda: found.extend(_nearest(live, row, request.k)), deadline)
        return self._slate(live, found[0] if found else live.funnel.popular(), request)

    def _request(self, live: Live, query: dict[str, list[str]], exclude_row: int = -1) -> SlateRequest:
        genres, region = query.get("genre", []), query.get("region", [None])[0]
        filtered = bool(genres) or (region is not None and bool(live.funnel.catalog.regions))
        return SlateRequest(
            subject=None,
            k=self._k(query),
            exclude_rows=np.array([exclude_row], np.int32) if exclude_row >= 0 else _NO_ROWS,
            allowed=live.funnel.catalog.allowed(genres=genres, region=region) if filtered else None,
        )

    def _k(self, query: dict[str, list[str]]) -> int:
        text, most = query.get("k", ["20"])[0], self._engine.settings.serve.max_k
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise failure(400, "bad_request", f"k must be a whole number from 1 to {most}, not {text!r}", path="$.k")
        return int(text)

    def _slate(self, live: Live, ranked: Ranked, request: SlateRequest) -> ItemsResponse:
        now_ms = self._engine.clock.now_ms()
        slate = live.funnel.reranker.slate(ranked, request, _NO_ROWS, now_ms, [live.funnel.popular()])
        return ItemsResponse(items=items_of(slate, live, explain=True), release=live.release_id)


def _nearest(live: Live, row: int, k: int) -> list[Ranked]:
    """One ranking, or none where no space knows the item."""
    near = live.funnel.retrieval.similar(row, 4 * k)
    if near is None:
        return []
    rows, scores = near
    return [Ranked("fast", rows, scores, np.full(len(rows), SOURCE_BIT["similar"], np.uint16))]
