"""Items and users as durable records with a feed of changed items: LMDB in a folder; knows nothing of their use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from upnext.domain.event import Item, User
from upnext.errors import StoreError
from upnext.ingest.revision_file import RevisionFile
from upnext.store.lmdb_environment import (
    MIB,
    Database,
    LmdbEnvironment,
    Transaction,
    open_environment,
    release_environment,
)

_REVISION = b"revision"
_REVISION_BYTES = 8
_SCAN_BATCH = 10_000
_encode = msgspec.msgpack.Encoder().encode
_ITEM = msgspec.msgpack.Decoder(Item)
_USER = msgspec.msgpack.Decoder(User)


@dataclass(frozen=True, slots=True)
class ItemChange:
    """The newest change of one item: what it is since `revision`, None where it was deleted."""

    revision: int
    item_id: str
    item: Item | None


class Records:
    """Items and users in the folder `path`, shared by the threads and processes of one machine.

    Every change is on the disk when its call returns, and all of a call's changes are made or none. An item deleted
    stays known as deleted, so that events which name it do not bring it back. Ids are 1 to 511 bytes of UTF-8;
    others raise `StoreError`, as every call does on a closed or damaged folder or a full disk.
    """

    def __init__(self, path: Path, *, map_size_bytes: int = 256 * MIB) -> None:
        self._path = path
        self._open: LmdbEnvironment | None = open_environment(path, durable=True, map_size_bytes=map_size_bytes)
        self._items = self._open.database(b"items")  # id -> revision of the newest change, then the item unless deleted
        self._users = self._open.database(b"users")  # id -> user
        self._changes = self._open.database(b"changes")  # revision -> id of the item whose newest change it is
        self._withdrawals = self._open.database(b"withdrawals")  # those of them after which the item may not be shown
        self._meta = self._open.database(b"meta")
        self._revision = RevisionFile(path / "revision", self._committed_revision)

    def put_items(self, items: Sequence[Item]) -> int:
        """Stores all of `items`, replacing those with the same ids; returns the revision after.

        An item equal to the stored one is no change; of several with one id the last counts.
        """
        last = {item.item_id.encode(): item for item in items}
        withdrawn = {key for key, item in last.items() if item.blocked or not item.available}
        self._change_items({key: _encode(item) for key, item in last.items()}, withdrawn)
        return self.revision()

    def delete_items(self, item_ids: Sequence[str]) -> int:
        """Deletes items and returns how many of them had been there.

        A deletion of an unknown item is remembered too: events, and releases made of them, may name it.
        """
        wanted = {item_id.encode(): b"" for item_id in item_ids}
        return self._change_items(wanted, set(wanted))

    def put_users(self, users: Sequence[User]) -> None:
        """Stores all of `users`, replacing those with the same ids."""
        rows = sorted((user.user_id.encode(), _encode(user)) for user in users)
        self._environment().write(lambda transaction: transaction.cursor(self._users).putmulti(rows))

    def delete_users(self, user_ids: Sequence[str]) -> int:
        """Deletes users, leaving nothing of them, and returns how many of them had been there."""
        keys = [user_id.encode() for user_id in user_ids]
        deleted: int = self._environment().write(lambda txn: sum(txn.delete(key) for key in keys), self._users)
        return deleted

    def item(self, item_id: str) -> Item | None:
        """The stored item; None where there is none or it was deleted."""
        value = self._get(self._items, item_id)
        return None if value is None else _item(value)

    def user(self, user_id: str) -> User | None:
        """The stored user; None where there is none."""
        value = self._get(self._users, user_id)
        return None if value is None else _USER.decode(value)

    def items(self) -> Iterator[Item]:
        """Every stored item, in byte order of the ids; what changes meanwhile may or may not be in."""
        return (_ITEM.decode(value[_REVISION_BYTES:]) for _, value in self._scan(self._items) if _is_item(value))

    def deleted_items(self) -> Iterator[str]:
        """The id of every item that was deleted and not put again, in byte order."""
        return (key.decode() for key, value in self._scan(self._items) if not _is_item(value))

    def users(self) -> Iterator[User]:
        """Every stored user, in byte order of the ids."""
        return (_USER.decode(value) for _, value in self._scan(self._users))

    def revision(self) -> int:
        """How many changes of items there have been; a change counts, in every process, once its call has returned.

        A read of mapped memory, cheap enough for every request.
        """
        if self._open is None:
            raise self._closed()
        return self._revision.get()

    def changes(self, after: int, limit: int = 1_000) -> list[ItemChange]:
        """Up to `limit` changes with revisions above `after`, in order; of each item only the newest change.

        [] when there are none. Called with 0, then with the last revision it gave, it gives every item once.
        """

        return self._feed(self._changes, after, limit)

    def withdrawals(self, after: int) -> list[ItemChange]:
        """Of all changes above `after` those by which an item may not be shown any more: deleted, blocked, unavailable.

        In order, and few: to be heeded before the other changes, however many those are.
        """
        return self._feed(self._withdrawals, after, None)

    def _feed(self, feed: Database, after: int, limit: int | None) -> list[ItemChange]:
        def read(transaction: Transaction) -> list[tuple[int, bytes, bytes]]:
            cursor = transaction.cursor(feed)
            if not cursor.set_range(_number(max(after, 0) + 1)):
                return []
            return [
                (int.from_bytes(revision, "big"), key, transaction.get(key, db=self._items))
                for revision, key in islice(cursor.iternext(), limit)
            ]

        return [
            ItemChange(revision, key.decode(), _item(value)) for revision, key, value in self._environment().read(read)
        ]

    def close(self) -> None:
        """Releases what is held; closing twice is fine."""
        environment, self._open = self._open, None
        if environment is not None:
            self._revision.close()
            release_environment(environment)

    def _change_items(self, wanted: dict[bytes, bytes], withdrawn: set[bytes]) -> int:
        """Each id's item becomes these bytes, none for deleted; how many items stood there before."""

        def change(transaction: Transaction) -> tuple[int, int]:
            items, changes = transaction.cursor(self._items), transaction.cursor(self._changes)
            before: dict[bytes, bytes] = dict(items.getmulti(list(wanted)))
            revision = int.from_bytes(transaction.get(_REVISION, db=self._meta) or b"", "big")
            changed: list[tuple[bytes, bytes]] = []  # in byte order of the ids, which LMDB puts fastest
            feed: list[tuple[bytes, bytes]] = []
            for key, raw in sorted(wanted.items()):
                old = before.get(key)
                if old is not None and old[_REVISION_BYTES:] == raw:
                    continue
                if old is not None:
                    transaction.delete(old[:_REVISION_BYTES], db=self._changes)
                    transaction.delete(old[:_REVISION_BYTES], db=self._withdrawals)
                revision += 1
                changed.append((key, _number(revision) + raw))
                feed.append((_number(revision), key))
            if changed:
                items.putmulti(changed)
                changes.putmulti(feed, append=True)
                gone = [row for row in feed if row[1] in withdrawn]
                transaction.cursor(self._withdrawals).putmulti(gone, append=True)
                transaction.put(_REVISION, _number(revision), db=self._meta)
            return len(changed), sum(map(_is_item, before.values()))

        n_changed, n_before = self._environment().write(change)
        if n_changed:
            self._revision.publish()
        return n_before

    def _committed_revision(self) -> int:
        environment = self._environment()
        return environment.read(
            lambda transaction: int.from_bytes(transaction.get(_REVISION) or b"", "big"), self._meta
        )

    def _get(self, database: Database, identity: str) -> bytes | None:
        key = identity.encode()
        found: bytes | None = self._environment().read(lambda transaction: transaction.get(key), database)
        return found

    def _scan(self, database: Database) -> Iterator[tuple[bytes, bytes]]:
        """All rows in order of keys; read batch by batch, so no snapshot is held while the caller works."""
        start = b"\0"

        def read(transaction: Transaction) -> list[tuple[bytes, bytes]]:
            cursor = transaction.cursor(database)
            return list(islice(cursor.iternext(), _SCAN_BATCH)) if cursor.set_range(start) else []

        while rows := self._environment().read(read):
            yield from rows
            start = rows[-1][0] + b"\0"

    def _environment(self) -> LmdbEnvironment:
        if self._open is None:
            raise self._closed()
        return self._open

    def _closed(self) -> StoreError:
        return StoreError(f"the records at {self._path} are closed; open them again")


def _number(revision: int) -> bytes:
    return revision.to_bytes(_REVISION_BYTES, "big")


def _is_item(value: bytes) -> bool:
    return len(value) > _REVISION_BYTES


def _item(value: bytes) -> Item | None:
    return _ITEM.decode(value[_REVISION_BYTES:]) if _is_item(value) else None
