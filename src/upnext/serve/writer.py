"""Group commit: events and dead letters of many requests in one durable append, applied before any is answered."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from upnext.domain.event import Event
from upnext.errors import Overloaded
from upnext.ingest.dead_letters_record import DeadLetter
from upnext.ingest.log_interface import EventLog
from upnext.settings import IngestSettings

_log = logging.getLogger(__name__)


class Written(NamedTuple):
    """What became of one request's events. Not `applied`: durable, but not in their users' state yet."""

    accepted: int
    duplicates: int
    applied: bool


class _Waiting(NamedTuple):
    events: Sequence[Event]
    letters: Sequence[DeadLetter]
    done: "asyncio.Future[Written]"
    loop: asyncio.AbstractEventLoop

    @property
    def size(self) -> int:
        return len(self.events) + len(self.letters)


class EventWriter:
    """One thread that appends and applies. What arrives while it commits shares the next commit."""

    def __init__(
        self,
        log: EventLog,
        keep: Callable[[Sequence[DeadLetter]], object],
        apply: Callable[[int], bool],
        settings: IngestSettings,
    ) -> None:
        """`keep` makes dead letters durable. `apply` moves states by the log up to a number; whether it got there."""
        self._event_log = log
        self._keep = keep
        self._apply = apply
        self._settings = settings
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._waiting = 0  # events and letters handed in and not yet settled; moved by the event loop alone
        self._thread = threading.Thread(target=self._work, name="event-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events and dead letters that wait for their commit."""
        return self._waiting

    async def write(self, events: Sequence[Event], letters: Sequence[DeadLetter] = ()) -> Written:
        """Returns once all are durable and, where the store allows, the events applied.

        Raises `Overloaded`, having taken nothing, when too much waits already; and what the log raised.
        """
        waiting = _Waiting(events, letters, asyncio.get_running_loop().create_future(), asyncio.get_running_loop())
        if self._waiting and self._waiting + waiting.size > self._settings.queue_events:
            raise Overloaded(
                f"{self._waiting} events wait to be written, more than {self._settings.queue_events} would; "
                "nothing of this request was taken: send it again later",
                retry_after_s=self._settings.retry_after_s,
            )
        self._waiting += waiting.size
        self._queue.put(waiting)
        try:
            return await asyncio.shield(waiting.done)
        finally:
            if waiting.done.done():
                self._waiting -= waiting.size
            else:  # the client went away: what it sent is written all the same
                waiting.done.add_done_callback(lambda done: self._settled_unseen(done, waiting.size))

    def close(self) -> None:
        """Writes what is queued, then ends the thread."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    def _settled_unseen(self, done: "asyncio.Future[Written]", size: int) -> None:
        self._waiting -= size
        done.exception()  # it was logged; nobody waits for it any more

    def _work(self) -> None:
        going = True
        while going:
            first = self._queue.get()
            if first is None:
                return
            group, going = self._gather(first)
            self._commit(group)

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        group, size = [first], first.size
        while size < self._settings.commit_events:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                return group, False
            group.append(waiting)
            size += waiting.size
        return group, True

    def _until(self, sequences: Sequence[int | None]) -> int:
        """How far the log must be applied: a duplicate may have been left unapplied by its first try."""
        if None in sequences:
            return self._event_log.last()
        return max(sequence for sequence in sequences if sequence is not None)

    def _commit(self, group: list[_Waiting]) -> None:
        events = [event for waiting in group for event in waiting.events]
        letters = [letter for waiting in group for letter in waiting.letters]
        try:
            if letters:
                self._keep(letters)
            sequences = self._event_log.append(events) if events else []
            applied = not events or self._apply(self._until(sequences))
        except Exception as error:
            _log.exception("%d events and %d dead letters could not be written", len(events), len(letters))
            _tell(group, [error] * len(group))
            return
        results, at = [], 0
        for waiting in group:
            mine = sequences[at : at + len(waiting.events)]
            at += len(waiting.events)
            duplicates = sum(sequence is None for sequence in mine)
            results.append(Written(len(mine) - duplicates, duplicates, applied))
        _tell(group, results)


def _tell(group: Sequence[_Waiting], results: Sequence[Written | Exception]) -> None:
    """Settles what many requests wait for, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Written], Written | Exception]]] = {}
    for waiting, result in zip(group, results, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting.done, result))
    for loop, settled in by_loop.items():
        loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: "list[tuple[asyncio.Future[Written], Written | Exception]]") -> None:
    for done, result in settled:
        if done.done():
            continue
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)
