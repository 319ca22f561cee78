"""Who tells a process which keys others changed: nobody on one machine, Redis where it is shared. Knows no values."""

from collections.abc import Callable, Sequence
from typing import Protocol

from upnext.clock import Clock
from upnext.settings import StoreSettings
from upnext.store.opening import redis_of


class Feed(Protocol):
    """Word of changes to a store, whoever makes them."""

    @property
    def trusted(self) -> bool:
        """Whether every change up to now has been or will within moments be told.

        While False, nothing that depends on what is kept may be believed unseen.
        """

    def close(self) -> None:
        """Ends the telling, and trust."""


class NoFeed:
    """For a store that only this machine's processes change, which tell each other without it."""

    @property
    def trusted(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Nothing to do."""


def open_feed(
    settings: StoreSettings,
    clock: Clock | None,
    changed: Callable[[Sequence[bytes]], None],
    everything: Callable[[], None],
    *,
    family: bytes = b"state/",
) -> Feed:
    """Word of changes to keys that start with `family` in the store of `settings.url`.

    `changed` gets keys as `Store` knows them; `everything` is called when any may have changed: before trust begins,
    and when a database was flushed. Both are called on a thread of the feed, and must be quick. Returns at once; a
    Redis need not run yet. Raises `SettingsError` for a url or a prefix that cannot be used.
    """
    if not settings.url:
        return NoFeed()
    servers, account, cluster = redis_of(settings)
    # Redis' library takes a tenth of a second to import: only for those who use it.
    from upnext.store.redis_feed import RedisFeed

    return RedisFeed(
        servers,
        account,
        cluster=cluster,
        prefix=settings.prefix,
        family=family,
        changed=changed,
        everything=everything,
        clock=clock,
    )
