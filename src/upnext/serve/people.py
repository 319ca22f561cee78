"""GET and DELETE /v1/users/{id}: all that is known of a person, and its end."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from upnext.clock import Deadline
from upnext.domain.identity import Keys
from upnext.errors import RequestError
from upnext.ingest.dead_letters_record import view
from upnext.ingest.served import JoinedSlate
from upnext.serve.engine import Engine
from upnext.serve.messages import KnownState, UserErased, UserExport
from upnext.state.people import Erased, Known
from upnext.state.user_state import UserState, UserVectors

_MESSAGE = (
    "erased from the log, the states, the slates kept for training, the dead letters and the user records; the next "
    "training set has nothing of this user. Copies made earlier (backups, exports) are yours to erase. What a "
    "release in use has learnt of many users together stays until the next training."
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
        return UserExport(
            user_id=user_id,
            record=_named(known.record) if known.record else None,
            states=[self._state(subject, *held) for subject, held in known.states.items()],
            events=[{"sequence": number, **_named(event)} for number, event in known.events],
            slates=[_slate(joined) for joined in known.slates],
            dead_letters=[msgspec.to_builtins(view(letter)) for letter in known.dead_letters],
        )

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

    def _state(self, subject: str, state: UserState, vectors: dict[str, UserVectors]) -> KnownState:
        return KnownState(
            subject=subject,
            state_version=state.state_version,
            n_interactions=state.n_interactions,
            last_ms=state.last_ms,
            recent_items=self._item_ids(state.recent_keys),
            seen_items=self._item_ids(state.seen),
            vectors={
                name: {
                    "session_vector": each.session_vector.tolist(),
                    "user_vector": each.user_vector.tolist(),
                    "hidden": each.hidden.tolist(),
                }
                for name, each in vectors.items()
            },
        )

    def _item_ids(self, keys: Keys) -> list[str | None]:
        live = self._engine.live
        if live is None:
            return [None] * len(keys)
        catalog = live.funnel.catalog
        return [catalog.ids[row] if row >= 0 else None for row in catalog.rows_of(keys).tolist()]


def _named(record: msgspec.Struct) -> dict[str, Any]:
    """Fields by name, of a record that is stored as an array."""
    return {name: msgspec.to_builtins(getattr(record, name)) for name in record.__struct_fields__}


def _slate(joined: JoinedSlate) -> dict[str, Any]:
    slate = joined.slate
    named = {name: value for name, value in _named(slate).items() if name not in ("user", "cross")}
    return {
        **named,
        "user_features": slate.user_features().tolist(),
        "outcomes": [_named(outcome) for outcome in joined.outcomes],
    }
