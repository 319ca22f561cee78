"""Served slates and their outcomes in a folder, joined when they are read; knows neither funnel nor log.

Slate and outcome are written under keys of their own, by whoever has them first: nobody waits for the other side, and
an outcome that comes before its slate is not lost. Bounded in time and in bytes.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from upnext.clock import Clock, Deadline
from upnext.domain.event import INTERACTIONS, Event
from upnext.domain.identity import key_of, subject_of
from upnext.ingest.served import JoinedSlate, Outcome, ServedSlate
from upnext.settings import HOUR_MS, ImpressionSettings
from upnext.store.interface import Store
from upnext.store.lmdb_environment import MIB, open_environment, release_environment
from upnext.store.lmdb_store import LmdbStore

KEPT_ACTIONS = INTERACTIONS | {"impression", "dislike"}
_MAX_BYTES = 2 * 2**30
_FORGOTTEN_MS = HOUR_MS  # far longer than any slate waits to be written
_READ_BATCH = 500
_ID_BYTES = 16
_PAGES = ("branch_pages", "leaf_pages", "overflow_pages")
_NUMBER = struct.Struct(">Q")  # big-endian, so that byte order is the order of numbers
# In the store: slate/ID -> slate; outcome/ID SEQUENCE -> outcome; time/MS ID -> nothing; subject/KEY ID -> nothing, for
# whoever is in the slate or in an outcome; forgotten/KEY -> when. ID is a digest of the request id.
_SLATE, _OUTCOME, _TIME, _SUBJECT, _FORGOTTEN = b"slate/", b"outcome/", b"time/", b"subject/", b"forgotten/"

_encode = msgspec.msgpack.Encoder().encode
_SLATES = msgspec.msgpack.Decoder(ServedSlate)
_OUTCOMES = msgspec.msgpack.Decoder(Outcome)
_Found = tuple[bytes, ServedSlate | None, list[tuple[bytes, Outcome]]]  # id, slate, outcomes with their keys


class ServedSlates:
    """The slates in the folder `path`, shared by the threads and processes of one machine.

    Not durable: what a power failure takes is lost training data, no more. After one the folder should be deleted, and
    is filled anew. Calls raise `StoreError` where the folder cannot be used.
    """

    def __init__(self, path: Path, settings: ImpressionSettings, clock: Clock, *, max_bytes: int = _MAX_BYTES) -> None:
        """Past about `max_bytes` the oldest slates make way for new ones."""
        self.store: Store = LmdbStore(path, clock)
        self.made_way = 0  # slates that this process dropped for want of room
        self._environment = open_environment(path, durable=False, map_size_bytes=MIB)  # the store's own
        self._open = True
        self._settings = settings
        self._clock = clock
        self._max_bytes = max_bytes
        self._never = Deadline.never(clock)

    def keeps(self, request_id: str) -> bool:
        """Whether the slate of this request belongs to the share that is kept: the same answer in every process."""
        share = self._settings.share
        return share >= 1 or (share > 0 and key_of(request_id) < share * 2**64)

    def put(self, slates: Sequence[ServedSlate]) -> None:
        """Keeps `slates`, but for those of subjects forgotten since. Putting one again changes nothing."""
        self._make_way(len(slates))
        items = [item for slate in slates for item in _items_of(slate)]
        self.store.put_many(items, self._never, ttl_ms=self._settings.keep_ms)
        # Only now: whoever forgets somebody says so first and looks for slates then, so one of us two finds them.
        forgotten = self._forgotten_ms({key_of(slate.subject) for slate in slates if slate.subject})
        gone = [
            slate for slate in slates if slate.subject and slate.served_ms <= forgotten.get(key_of(slate.subject), -1)
        ]
        self._delete(self._found(_id_of(slate.request_id)) for slate in gone)

    def join(self, events: Sequence[tuple[int, Event]]) -> None:
        """Keeps what `events` (sequence number, event) say of items of slates; for a consumer of the log.

        It does not matter whether the slate is there yet, nor how often an event comes. Events without request id,
        item or consent, of other actions, of slates that are not kept or have expired, are passed over.
        """
        oldest_ms = self._clock.now_ms() - self._settings.keep_ms
        items: list[tuple[bytes, bytes]] = []
        keys: list[tuple[Outcome, list[bytes]]] = []
        for sequence, event in events:
            outcome, request_id = _outcome_of(event), event.request_id or ""
            if outcome is None or event.timestamp_ms < oldest_ms or not self.keeps(request_id):
                continue
            key = _OUTCOME + _id_of(request_id) + _NUMBER.pack(sequence)
            pointer = _subject_key(outcome.subject, _id_of(request_id))
            items += [(key, _encode(outcome)), (pointer, b"")]
            keys.append((outcome, [key, pointer]))
        if not items:
            return
        self.store.put_many(items, self._never, ttl_ms=self._settings.keep_ms)
        forgotten = self._forgotten_ms({outcome.subject for outcome, _ in keys})  # as in `put`
        for outcome, its_keys in keys:
            if outcome.timestamp_ms <= forgotten.get(outcome.subject, -1):
                self.store.delete_many(its_keys, self._never)

    def get(self, request_id: str) -> JoinedSlate | None:
        """The slate of one request with its outcomes; None where it is not kept, or not yet."""
        return _joined(self._found(_id_of(request_id)))

    def all(self, after_ms: int = -1) -> Iterator[JoinedSlate]:
        """Every slate served after `after_ms`, the oldest first, in bounded memory."""
        keys = (key for key, _ in self.store.scan(_TIME) if _NUMBER.unpack_from(key, len(_TIME))[0] > after_ms)
        while batch := [_request_of(key) for key in islice(keys, _READ_BATCH)]:
            for request, raw in zip(batch, self._get([_SLATE + request for request in batch]), strict=True):
                if raw is not None:
                    slate = _SLATES.decode(raw)
                    yield JoinedSlate(slate, [outcome for _, outcome in self._outcomes(request)])

    def of_subject(self, subject: str) -> list[JoinedSlate]:
        """Every slate that was served to `subject`, the oldest first."""
        found = (_joined(self._found(request)) for request in self._requests_of(key_of(subject)))
        slates = [joined for joined in found if joined is not None and joined.slate.subject == subject]
        return sorted(slates, key=lambda joined: joined.slate.served_ms)

    def forget(self, subjects: Iterable[str]) -> int:
        """Deletes the slates served to `subjects` with their outcomes, and their outcomes of other slates.

        How many slates and outcomes that were. Slates of theirs that still wait to be written, in whatever process,
        are dropped when they are.
        """
        keys = [key_of(subject) for subject in subjects]
        now = _NUMBER.pack(self._clock.now_ms())
        self.store.put_many([(_forgotten_key(key), now) for key in keys], self._never, ttl_ms=_FORGOTTEN_MS)
        return sum(self._forget(key) for key in keys)

    def used_bytes(self) -> int:
        """How much of the folder's file is in use; the file never shrinks, but what is free in it is used again."""
        tables = [self._environment.database(b"values"), self._environment.database(b"expiries", duplicates=True)]
        stats = self._environment.read(lambda transaction: [transaction.stat(table) for table in tables])
        return sum(stat["psize"] * sum(stat[pages] for pages in _PAGES) for stat in stats)

    def close(self) -> None:
        """Releases the folder; closing twice is fine."""
        if self._open:
            self._open = False
            self.store.close()
            release_environment(self._environment)

    def _forget(self, subject: int) -> int:
        count = 0
        for request in list(self._requests_of(subject)):
            _, slate, outcomes = found = self._found(request)
            if slate is not None and slate.subject is not None and key_of(slate.subject) == subject:
                count += self._delete([found])
            else:
                theirs = [key for key, outcome in outcomes if outcome.subject == subject]
                count += self.store.delete_many(theirs, self._never)
            self.store.delete_many([_subject_key(subject, request)], self._never)
        return count

    def _forgotten_ms(self, subjects: set[int]) -> dict[int, int]:
        """When, of those of `subjects` that were forgotten not long ago."""
        keys = list(subjects)
        values = self._get([_forgotten_key(key) for key in keys])
        return {key: _NUMBER.unpack(raw)[0] for key, raw in zip(keys, values, strict=True) if raw is not None}

    def _make_way(self, n_slates: int) -> None:
        if self.used_bytes() < self._max_bytes:
            return
        oldest = [key for key, _ in islice(self.store.scan(_TIME), 2 * n_slates)]
        self._delete(self._found(_request_of(key)) for key in oldest)
        self.store.delete_many(oldest, self._never)  # also those whose slate has gone before
        self.made_way += len(oldest)

    def _found(self, request: bytes) -> _Found:
        (raw,) = self._get([_SLATE + request])
        return request, None if raw is None else _SLATES.decode(raw), list(self._outcomes(request))

    def _outcomes(self, request: bytes) -> Iterator[tuple[bytes, Outcome]]:
        return ((key, _OUTCOMES.decode(raw)) for key, raw in self.store.scan(_OUTCOME + request))

    def _requests_of(self, subject: int) -> Iterator[bytes]:
        return (_request_of(key) for key, _ in self.store.scan(_subject_key(subject, b"")))

    def _get(self, keys: Sequence[bytes]) -> list[Any]:
        return self.store.get_many(keys, self._never) if keys else []

    def _delete(self, found: Iterable[_Found]) -> int:
        """Deletes slates with their outcomes and whatever points to them; how many slates and outcomes."""
        keys: list[bytes] = []
        count = 0
        for request, slate, outcomes in found:
            keys += [key for key, _ in outcomes]
            keys += [_subject_key(outcome.subject, request) for _, outcome in outcomes]
            keys += [key for key, _ in _items_of(slate)] if slate else []
            count += len(outcomes) + (slate is not None)
        if keys:
            self.store.delete_many(keys, self._never)
        return count


def _outcome_of(event: Event) -> Outcome | None:
    subject = subject_of(event.user_id, event.session_id)
    if event.action not in KEPT_ACTIONS or not event.request_id or event.item_id is None:
        return None
    if subject is None or not event.consent:
        return None
    position = event.context.get("position")
    return Outcome(
        item_id=event.item_id,
        action=event.action,
        timestamp_ms=event.timestamp_ms,
        subject=key_of(subject),
        value=event.value,
        position=position if isinstance(position, int) and not isinstance(position, bool) else None,
    )


def _joined(found: _Found) -> JoinedSlate | None:
    _, slate, outcomes = found
    return None if slate is None else JoinedSlate(slate, [outcome for _, outcome in outcomes])


def _items_of(slate: ServedSlate) -> list[tuple[bytes, bytes]]:
    """All that is stored of a slate, by key."""
    request = _id_of(slate.request_id)
    items = [(_SLATE + request, _encode(slate)), (_TIME + _NUMBER.pack(slate.served_ms) + request, b"")]
    return items if slate.subject is None else [*items, (_subject_key(key_of(slate.subject), request), b"")]


def _id_of(request_id: str) -> bytes:
    return blake2b(request_id.encode(), digest_size=_ID_BYTES).digest()


def _request_of(key: bytes) -> bytes:
    """The digest at the end of a key."""
    return key[-_ID_BYTES:]


def _subject_key(subject: int, request: bytes) -> bytes:
    return _SUBJECT + _NUMBER.pack(subject) + request


def _forgotten_key(subject: int) -> bytes:
    return _FORGOTTEN + _NUMBER.pack(subject)
