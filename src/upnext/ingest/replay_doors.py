"""The doors of one home for replays: the gate of each kind and where its records go; knows nothing of the queue."""

from collections.abc import Callable, Sequence
from typing import Any

from upnext.contracts.gate import Admitted, admit_events, admit_items, admit_users
from upnext.domain.event import Event, Item, User
from upnext.ingest.replay import Door


def home_doors(
    append: Callable[[Sequence[Event]], Sequence[int | None]],
    put_items: Callable[[Sequence[Item]], object],
    put_users: Callable[[Sequence[User]], object],
    *,
    tenant: str = "default",
) -> dict[str, Door]:
    """A door for each kind of letter of `tenant`'s home.

    All three must be durable when they return. `append` is that of an `EventLog`; items and users take the place of
    those with the same ids, so none of them counts as a duplicate.
    """

    def events(body: bytes, content_type: str, *, now_ms: int, event_id: Callable[[], str]) -> Admitted[Event]:
        return admit_events(body, content_type, now_ms=now_ms, tenant=tenant, event_id=event_id)

    def items(body: bytes, content_type: str, **_: Any) -> Admitted[Item]:
        return admit_items(body, content_type, tenant=tenant)

    def users(body: bytes, content_type: str, **_: Any) -> Admitted[User]:
        return admit_users(body, content_type, tenant=tenant)

    return {
        "event": Door(events, append),
        "item": Door(items, _counting(put_items)),
        "user": Door(users, _counting(put_users)),
    }


def _counting(put: Callable[[Sequence[Any]], object]) -> Callable[[Sequence[Any]], Sequence[int | None]]:
    """`put` as a write that tells of every record that it was written."""

    def write(records: Sequence[Any]) -> Sequence[int | None]:
        put(records)
        return range(len(records))

    return write
