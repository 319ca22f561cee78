"""Items and users as records in the store, under keys of their own; knows nothing of how they are used."""

from collections.abc import Iterator, Sequence

import msgspec

from upnext.clock import Deadline
from upnext.domain.event import Item, User
from upnext.store.interface import Store

ITEM_PREFIX = b"item/"
USER_PREFIX = b"user/"

_encode = msgspec.msgpack.Encoder().encode
_ITEM = msgspec.msgpack.Decoder(Item)
_USER = msgspec.msgpack.Decoder(User)


def item_key(item_id: str) -> bytes:
    return ITEM_PREFIX + item_id.encode()


def user_key(user_id: str) -> bytes:
    return USER_PREFIX + user_id.encode()


def put_items(store: Store, items: Sequence[Item], deadline: Deadline) -> None:
    """All of `items` are stored, replacing those with the same ids, or on an error none."""
    store.put_many([(item_key(item.item_id), _encode(item)) for item in items], deadline)


def put_users(store: Store, users: Sequence[User], deadline: Deadline) -> None:
    """All of `users` are stored, replacing those with the same ids, or on an error none."""
    store.put_many([(user_key(user.user_id), _encode(user)) for user in users], deadline)


def read_items(store: Store) -> Iterator[Item]:
    """Every stored item, in byte order of the ids."""
    return (_ITEM.decode(value) for _, value in store.scan(ITEM_PREFIX))


def read_users(store: Store) -> Iterator[User]:
    """Every stored user, in byte order of the ids."""
    return (_USER.decode(value) for _, value in store.scan(USER_PREFIX))
