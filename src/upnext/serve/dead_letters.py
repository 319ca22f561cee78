"""/v1/deadletters: what was refused, for those who operate: list, show, try again."""

import asyncio
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope

from upnext.errors import RequestError
from upnext.ingest.dead_letters_record import LetterView, Selection, view
from upnext.ingest.replay import ReplayReport
from upnext.serve.engine import Engine
from upnext.serve.http import failure, read_body
from upnext.serve.messages import (
    DeadLettersResponse,
    ReplayRequest,
    decoded,
)

_MOST = 1_000  # letters on one page
_replay_decoder = msgspec.json.Decoder(ReplayRequest)


class DeadLetterEndpoints:
    """The dead-letter queue over HTTP."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def page(self, scope: Scope, receive: Receive) -> DeadLettersResponse:
        """Query: after, limit, reason, producer, kind."""
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        after, limit = _number(query, "after", 0), _number(query, "limit", 100)
        letters = self._engine.dead_letters

        def read() -> DeadLettersResponse:
            page = letters.page(
                after=after,
                limit=min(limit, _MOST),
                reason=query.get("reason"),
                producer=query.get("producer"),
                kind=query.get("kind"),
            )
            totals = letters.totals()
            return DeadLettersResponse(
                letters=[view(letter) for letter in page],
                waiting=totals.waiting,
                waiting_bytes=totals.waiting_bytes,
                dropped_by_size=totals.dropped_by_size,
                dropped_by_age=totals.dropped_by_age,
                replayed=totals.replayed,
                by_reason=totals.by_reason,
            )

        return await asyncio.get_running_loop().run_in_executor(None, read)

    async def one(self, scope: Scope, receive: Receive) -> LetterView:
        """Raises `RequestError` 404 for one that is not, or no longer, there."""
        number = scope["path_params"]["number"]
        letter = await asyncio.get_running_loop().run_in_executor(None, self._engine.dead_letters.get, number)
        if letter is None:
            raise failure(404, "unknown_dead_letter", f"there is no dead letter {number}; it was replayed or dropped")
        return view(letter)

    async def replay(self, scope: Scope, receive: Receive) -> ReplayReport:
        """Sends the chosen through the gate again; accepted ones are durable when the answer leaves."""
        engine = self._engine
        body = decoded(_replay_decoder, await read_body(receive, engine.settings.serve.max_body_bytes))
        if not (body.numbers or body.reason or body.producer or body.kind or body.after_upgrade or body.all):
            raise RequestError("nothing is chosen; give numbers, reason, producer, kind, after_upgrade or all")
        selection = Selection(
            numbers=tuple(body.numbers) or None,
            reason=body.reason,
            producer=body.producer,
            kind=body.kind,
            after_upgrade=body.after_upgrade,
        )
        return await asyncio.get_running_loop().run_in_executor(None, engine.replay, selection)


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or len(text) > 18:
        raise RequestError(f"{name} is {text[:40]!r}; give a whole number", path=f"$.{name}")
    return int(text)
