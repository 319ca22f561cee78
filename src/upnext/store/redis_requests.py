"""Reads, commands and scripts over a link, with refusals raised; knows nothing of expiry or of groups."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from upnext.clock import Deadline
from upnext.errors import StoreError
from upnext.store.redis_connection import Reply
from upnext.store.redis_links import Link, Request
from upnext.store.redis_names import Placed
from upnext.store.redis_scripts import Script


class Call(NamedTuple):
    """Of a script: names in one slot, and its arguments."""

    slot: int
    names: Sequence[bytes]
    arguments: Sequence[bytes | int]


def send(link: Link, requests: Sequence[Request], deadline: Deadline) -> list[Reply]:
    """The replies, in order, in one round trip."""
    return [accepted(reply) for reply in link.exchange(requests, deadline)] if requests else []


def read(link: Link, placed: Sequence[Placed], deadline: Deadline) -> list[bytes | None]:
    """What is kept under the names, None where nothing is; those of one slot are read at one moment."""
    of_slot: dict[int, list[int]] = {}
    for at, (slot, _) in enumerate(placed):
        of_slot.setdefault(slot, []).append(at)
    requests: list[Request] = [(slot, (b"MGET", *(placed[at].name for at in ats))) for slot, ats in of_slot.items()]
    raws: list[bytes | None] = [None] * len(placed)
    for ats, found in zip(of_slot.values(), send(link, requests, deadline), strict=True):
        for at, raw in zip(ats, found, strict=True):
            raws[at] = raw
    return raws


def run(link: Link, script: Script, calls: Sequence[Call], deadline: Deadline) -> list[Any]:
    """What the script returns to each call. A server that does not know the script yet is sent its text."""
    if not calls:
        return []
    tails = [(len(call.names), *call.names, *call.arguments) for call in calls]
    by_name: list[Request] = [
        (call.slot, (b"EVALSHA", script.name, *tail)) for call, tail in zip(calls, tails, strict=True)
    ]
    replies = link.exchange(by_name, deadline)
    unknown = [at for at, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
    if unknown:
        by_text: list[Request] = [(calls[at].slot, (b"EVAL", script.text, *tails[at])) for at in unknown]
        for at, reply in zip(unknown, link.exchange(by_text, deadline), strict=True):
            replies[at] = reply
    return [accepted(reply) for reply in replies]


def accepted(reply: Reply) -> Reply:
    """The reply, unless it is a refusal, which is raised as `StoreError` with what to do."""
    if isinstance(reply, Exception):
        raise StoreError(f"Redis refused a command ({reply}); {_remedy(reply)}") from reply
    return reply


def _remedy(refusal: Exception) -> str:
    known = redis.exceptions
    if isinstance(refusal, (known.AskError, known.ClusterCrossSlotError)):
        return "it is a Redis Cluster: name its servers in store.url as redis+cluster://HOST:PORT,HOST:PORT"
    if isinstance(refusal, known.OutOfMemoryError):
        return "give it more memory (maxmemory)"
    if isinstance(refusal, known.ReadOnlyError):
        return "it is a replica: name its master in store.url"
    if str(refusal).startswith("WRONGTYPE"):
        return "others keep something else under the same names: choose another store.prefix"
    return "see its log and the rights of the user in store.url"
