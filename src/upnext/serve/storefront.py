"""/demo: the storefront over the release in force, for a user or for somebody whose name nobody knows."""

import asyncio
from typing import Annotated, Literal
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope

from upnext.clock import Deadline
from upnext.console.storefront import STATIC, StorefrontPage, Visitor, body_html, page_html
from upnext.domain.identity import subject_of
from upnext.serve.engine import Engine
from upnext.serve.http import failure, read_body
from upnext.serve.keys import Keys
from upnext.serve.messages import Context, Identity, RecommendRequest, RecommendResponse, decoded
from upnext.serve.pages import Sent, sent_file
from upnext.serve.recommend import Recommend, live_or_503
from upnext.serve.storefront_facts import Facts, gather
from upnext.serve.storefront_rows import Composer, rows_of_slate

_K = 60
_OTHERS, _LOOKED_AT = 8, 300  # users to look as, of the newest events
_MOST_LETTERS = 256  # of a user's id


class StorefrontRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Asks for the page as it should be now."""

    user_id: Identity | None = None
    session_id: Identity | None = None
    mode: Literal["", "scroll", "browse", "dwell"] = ""
    search: Annotated[str, msgspec.Meta(max_length=200)] = ""
    playing: Annotated[str, msgspec.Meta(max_length=_MOST_LETTERS)] = ""  # item id of what is watched; "" for nothing
    paused: bool = False


class StorefrontResponse(msgspec.Struct, kw_only=True):
    """The part of the page that changes, and the slate it was made of."""

    html: str
    request_id: str
    tier: str
    route: str
    state_version: int
    timing_ms: dict[str, float]


_decoder = msgspec.json.Decoder(StorefrontRequest)


class Storefront:
    """The pages of one tenant. Slates come from the same place as those of POST /v1/recommend."""

    def __init__(self, engine: Engine, recommend: Recommend, keys: Keys | None = None) -> None:
        """`keys`: those of the server; without any the page needs none."""
        self._engine = engine
        self._recommend = recommend
        self._keys = keys

    async def page(self, scope: Scope, receive: Receive) -> Sent:
        """The whole document, ready to be looked at. Query: user. Raises `RequestError` 404 where it is not served."""
        self._check_served()
        if not self._open():
            return Sent(page_html(None, Visitor(needs_key=True)).encode())
        user_id = parse_qs(scope["query_string"].decode("utf-8", "replace")).get("user", [""])[0].strip()
        user_id = user_id[:_MOST_LETTERS]
        others = await asyncio.get_running_loop().run_in_executor(None, self._others)
        visitor = Visitor(user_id, others)
        if self._engine.live is None:
            return Sent(page_html(None, visitor).encode(), status=503)
        page, _ = await self._composed(StorefrontRequest(user_id=user_id or None), scope)
        return Sent(page_html(page, visitor).encode())

    async def reshaped(self, scope: Scope, receive: Receive) -> StorefrontResponse:
        """What changes of the page, as it should be now. Raises `RequestError` 404 where it is not served."""
        self._check_served()
        live_or_503(self._engine)
        body = decoded(_decoder, await read_body(receive, self._engine.settings.serve.max_body_bytes))
        page, slate = await self._composed(body, scope)
        return StorefrontResponse(
            html=body_html(page),
            request_id=slate.request_id,
            tier=slate.tier,
            route=slate.route,
            state_version=slate.state_version,
            timing_ms=slate.timing_ms,
        )

    async def static(self, scope: Scope, receive: Receive) -> Sent:
        """A file that the page names. Raises `RequestError` 404 for any other, and where the page is not served."""
        self._check_served()
        return sent_file(STATIC, scope["path_params"]["name"])

    def _check_served(self) -> None:
        demo = self._engine.settings.serve.demo
        if demo == "off" or (demo == "auto" and not self._open()):
            raise failure(404, "not_found", "the storefront is not served here; see the setting serve.demo")

    def _open(self) -> bool:
        return self._keys is None or self._keys.empty

    async def _composed(self, body: StorefrontRequest, scope: Scope) -> tuple[StorefrontPage, RecommendResponse]:
        engine = self._engine
        clock, settings = engine.clock, engine.settings
        asked = RecommendRequest(
            user_id=body.user_id,
            session_id=body.session_id,
            surface="storefront",
            k=min(_K, settings.serve.max_k),
            context=Context(mode=body.mode),
            explain=True,
        )
        slate = await self._recommend.answer_for(asked, scope["headers"], clock.monotonic_ms())
        live = live_or_503(engine)
        facts, search = Facts(), body.search.strip()
        subject = subject_of(body.user_id, body.session_id)
        rows = rows_of_slate(live, (item.item_id for item in slate.items))
        deadline = Deadline.after(clock, settings.budget.full_ms)
        view = engine.reader.view
        await engine.compute.run(lambda: gather(facts, live, view, subject, rows, search, clock, deadline), deadline)
        composer = Composer(live, slate, facts, clock, search, body.playing, body.paused)
        return composer.page(), slate

    def _others(self) -> tuple[str, ...]:
        """Users of the newest events, the newest first."""
        log = self._engine.event_log
        newest = log.read(max(0, log.last() - _LOOKED_AT), _LOOKED_AT)
        found = dict.fromkeys(event.user_id for _, event in reversed(newest) if event.user_id)
        return tuple(list(found)[:_OTHERS])
