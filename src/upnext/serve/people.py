"""GET and DELETE /v1/users/{id}: all that is known of a person, and its end."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from upnext.clock import Deadline
from upnext.errors import RequestError
from upnext.serve.engine import Engine
from upnext.serve.messages import UserErased, UserExport
from upnext.state.people import Erased, Known, document

_MESSAGE = (
    "erased from the log, the states, the shortlists, the slates kept for training, the dead letters and the user "
    "records; the next training set has nothing of this user. Releases, checkpoints, backups and exports made earlier "
    "are not changed: train anew, and delete the old ones, where nothing learnt with this user may remain."
)


class PeopleEndpoints:
    """People's rights."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def export(self, scope: Scope, receive: Receive) -> UserExport:
        """Everything, as one document. Raises `RequestError` 404 where nothing is known."""
        user_id = scope["path_params"]["user_id"]
        known: Known = await self._in_thread(self._engine.people.known, user_id)
        if not (known.record or known.states or known.events or known.slates or known.dead_letters):
            raise RequestError(f"nothing is known of user {user_id!r}", status=404, code="unknown_user")
        return msgspec.convert(document(known, self._item_id), UserExport)

    async def erase(self, scope: Scope, receive: Receive) -> UserErased:
        """The user is gone when the answer leaves. Erasing somebody unknown is no error."""
        user_id = scope["path_params"]["user_id"]
        erased: Erased = await self._in_thread(self._engine.people.erase, user_id)
        return UserErased(
            user_id=user_id,
            record=erased.record,
            events=erased.events,
            states=erased.states,
            slates=erased.slates,
            dead_letters=erased.dead_letters,
            message=_MESSAGE,
        )

    async def _in_thread(self, work: Callable[[str, Deadline], Any], user_id: str) -> Any:
        never = Deadline.never(self._engine.clock)
        return await asyncio.get_running_loop().run_in_executor(None, work, user_id, never)

    def _item_id(self, key: int) -> str | None:
        live = self._engine.live
        row = live.funnel.catalog.row_of_key(key) if live else -1
        return live.funnel.catalog.ids[row] if live and row >= 0 else None
