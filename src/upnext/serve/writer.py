"""Group commit: events of many requests in one durable append, applied before any of them is answered."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from upnext.domain.event import Event
from upnext.ingest.log_interface import EventLog

_MOST_EVENTS = 5_000  # in one append
_log = logging.getLogger(__name__)


class Written(NamedTuple):
    """What became of one request's events."""

    accepted: int
    duplicates: int


class _Waiting(NamedTuple):
    events: Sequence[Event]
    done: "asyncio.Future[Written]"
    loop: asyncio.AbstractEventLoop


class EventWriter:
    """One thread that appends and applies. What arrives while it commits shares the next commit."""

    def __init__(self, log: EventLog, apply: Callable[[Sequence[Event]], None]) -> None:
        """`apply` moves the state by events just made durable; it must not raise for what one event holds."""
        self._event_log = log
        self._apply = apply
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="event-writer", daemon=True)
        self._thread.start()

    async def write(self, events: Sequence[Event]) -> Written:
        """Returns once the events are durable and applied. Raises what the log or the store raised."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Written] = loop.create_future()
        self._queue.put(_Waiting(events, done, loop))
        return await done

    def close(self) -> None:
        """Writes what is queued, then ends the thread."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    def _work(self) -> None:
        going = True
        while going:
            first = self._queue.get()
            if first is None:
                return
            group, going = self._gather(first)
            self._commit(group)

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        group, size = [first], len(first.events)
        while size < _MOST_EVENTS:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                return group, False
            group.append(waiting)
            size += len(waiting.events)
        return group, True

    def _commit(self, group: list[_Waiting]) -> None:
        events = [event for waiting in group for event in waiting.events]
        try:
            sequences = self._event_log.append(events)
            new = [event for event, sequence in zip(events, sequences, strict=True) if sequence is not None]
            self._apply(new)
        except Exception as error:
            _log.exception("%d events could not be written", len(events))
            for waiting in group:
                waiting.loop.call_soon_threadsafe(_fail, waiting.done, error)
            return
        at = 0
        for waiting in group:
            mine = sequences[at : at + len(waiting.events)]
            at += len(waiting.events)
            duplicates = sum(sequence is None for sequence in mine)
            waiting.loop.call_soon_threadsafe(_settle, waiting.done, Written(len(mine) - duplicates, duplicates))


def _settle(done: "asyncio.Future[Written]", written: Written) -> None:
    if not done.done():
        done.set_result(written)


def _fail(done: "asyncio.Future[Written]", error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
