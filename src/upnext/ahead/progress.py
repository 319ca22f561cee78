"""How far a batch of shortlists is, kept in a small file; one batch at a time. Knows nothing of how they are made."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from upnext.ahead.active import ActiveUser
from upnext.errors import UpnextError
from upnext.store.disk import sync


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A batch under way: the first `position` of its users are done."""

    release: str
    log_sequence: int  # the last event of the log when its users were listed
    users: str  # digest of that list, with all that is asked for each
    started_ms: int
    position: int = 0
    made: int = 0
    kept: int = 0
    skipped: int = 0


def digest_of(users: Sequence[ActiveUser]) -> str:
    """A hexadecimal name for this list of users, in this order."""
    digest = hashlib.blake2b(digest_size=16)
    for user in users:
        digest.update(repr((user.subject, user.region, user.head)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def read_progress(path: Path) -> Progress | None:
    """What was written there last; None for no file, and for one that cannot be read: then a batch begins anew."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except (OSError, msgspec.DecodeError):
        return None


def write_progress(path: Path, progress: Progress) -> None:
    """Replaces the file: after a crash it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(msgspec.json.encode(progress))
    sync(draft)
    os.replace(draft, path)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same lock file. Raises `UpnextError` when one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpnextError(
                f"shortlists are being worked out for this home already ({path} is locked); "
                "wait for that process, or end it and start again: nothing is lost"
            ) from None
        yield
