"""Which servers of a Redis Cluster may take writes, as one of them sees it; sends nothing."""

from typing import NamedTuple

from upnext.errors import StoreError
from upnext.store.redis_addresses import Address

_AWAY = {"noaddr", "handshake"}
_FAILED = {"fail", "fail?"}


class View(NamedTuple):
    """One server's view of its cluster. Another view than before means that somebody else may own some slots."""

    source: Address  # the server itself, as the others call it
    masters: tuple[tuple[Address, tuple[str, ...]], ...]  # in order, with the ranges of slots of each

    def addresses(self) -> list[Address]:
        return [address for address, _ in self.masters]


def view_of(reply: object, asked: Address) -> View:
    """From the reply to CLUSTER NODES of the server at `asked`. Raises `StoreError` for a reply that is none.

    A master without slots counts unless it failed, because keys are put there while slots move to it; a failed master
    counts for as long as it has slots, because nobody else's word is final until they have another owner.
    """
    if not isinstance(reply, bytes):
        raise StoreError(f"Redis at {asked} tells no members ({str(reply)[:80]}); is it a cluster?")
    source = asked
    masters: list[tuple[Address, tuple[str, ...]]] = []
    for line in reply.decode(errors="replace").splitlines():
        words = line.split()
        if len(words) < 8:
            continue
        host, _, port = words[1].partition("@")[0].rpartition(":")
        flags = set(words[2].split(","))
        if flags & _AWAY or not port.isdecimal():
            continue
        address = Address(host or asked.host, int(port))
        if "myself" in flags:
            source = address
        slots = tuple(word for word in words[8:] if not word.startswith("["))  # in brackets: moves under way
        if "master" in flags and (slots or not flags & _FAILED):
            masters.append((address, slots))
    return View(source, tuple(sorted(masters)))
