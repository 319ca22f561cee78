"""POST /v1/items and /v1/users, DELETE /v1/items/{id}: durable records, known to every request from the next one on."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope

from upnext.contracts.gate import Admitted, admit_items, admit_users
from upnext.errors import RequestError
from upnext.ingest.dead_letters_record import Kind
from upnext.metrics.recorder import Metrics
from upnext.serve.engine import Engine
from upnext.serve.events import letters_of, rejected_parts
from upnext.serve.http import content_type_of, read_body
from upnext.serve.messages import DeletedResponse, RecordsResponse


class RecordEndpoints:
    """Takes items and users."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    async def post_items(self, scope: Scope, receive: Receive) -> RecordsResponse:
        """Items are put in place of those with the same ids. Raises `RequestError` when there was none to take."""
        return await self._post(scope, receive, "item", admit_items, self._engine.items.put)

    async def post_users(self, scope: Scope, receive: Receive) -> RecordsResponse:
        """As `post_items`, for what is known of users beside their events."""
        return await self._post(scope, receive, "user", admit_users, self._engine.records.put_users)

    async def delete_item(self, scope: Scope, receive: Receive) -> DeletedResponse:
        """The item leaves in no slate from the next request on; that it is deleted is remembered."""
        item_id = scope["path_params"]["item_id"]
        known = await asyncio.get_running_loop().run_in_executor(None, self._engine.items.delete, item_id)
        return DeletedResponse(item_id=item_id, known=known)

    async def _post(
        self,
        scope: Scope,
        receive: Receive,
        kind: Kind,
        admit: Callable[..., Admitted[Any]],
        put: Callable[[list[Any]], object],
    ) -> RecordsResponse:
        engine = self._engine
        engine.pressure.check()
        body, content_type = await read_body(receive, engine.settings.serve.max_body_bytes), content_type_of(scope)
        if not body:
            raise RequestError(f"the body is empty; send at least one {kind}")
        admitted = admit(body, content_type, tenant=engine.tenant)
        if letters := letters_of(admitted.refused, kind, content_type, engine.clock.now_ms()):
            await engine.writer.write([], letters)
        if admitted.records:
            await asyncio.get_running_loop().run_in_executor(None, put, admitted.records)
        rejected = rejected_parts(admitted.refused, self._metrics)
        if rejected and not admitted.records:
            raise RequestError(rejected[0].message, path=rejected[0].path, status=422, code=rejected[0].reason)
        return RecordsResponse(accepted=len(admitted.records), rejected=rejected)
