"""Which users' states changed, told between the workers of one server without a word through the store.

A table in shared memory, with a word for each slot of subjects. Whoever has changed a state writes something new into
its word, before anybody is told that the change is done; whoever worked something out of a state compares the word
with what it was before they read the state.
"""

import itertools
import os
import time
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from upnext.shared_memory import Words, create_words, shared_file

_MAGIC = b"upnext changes 1"
_HEAD_WORDS = 3  # the magic's two, and that of everybody at once
_EVERYBODY = 2
_SLOTS = 1 << 20
Change: TypeAlias = tuple[int, int]  # that of a subject, and that of everybody
_WORD = (1 << 63) - 1


def shared_changes() -> AbstractContextManager[Path]:
    """The file by which the workers of one server tell; for the parent process. Removed at the end."""
    return shared_file("changes", create_changes)


def create_changes(path: Path) -> None:
    """A table of no changes: 8 MiB, of which only what is touched takes memory."""
    create_words(path, _MAGIC, _HEAD_WORDS + _SLOTS)


class Changes:
    """One tenant's view of the table. Any thread may call.

    Words never take a value twice (moment, process and a running number are in them), so two that write at once do no
    harm, and there is no lock: a reader who saw either read the state after that change. A slot is a hash of tenant and
    subject; a subject that shares one is taken for changed now and then, which costs time and nothing else.
    """

    def __init__(self, path: Path, tenant: str = "") -> None:
        """Opens what `create_changes` made. Raises `SettingsError` when it is something else."""
        self._file = Words(path, _MAGIC, _HEAD_WORDS + _SLOTS, "table of changes")
        self._words = self._file.words
        self._seed = zlib.crc32(tenant.encode() + b"/")
        self._next = itertools.count(time.monotonic_ns() ^ (os.getpid() << 40))

    def of(self, subject: str) -> Change:
        """What to compare with later: equal as long as nothing was marked. 0.5 µs."""
        words = self._words
        return words[self._slot(subject)], words[_EVERYBODY]

    def mark(self, subjects: Iterable[str]) -> None:
        """The states of `subjects` are others now. To be called after they were stored."""
        for subject in subjects:
            self._words[self._slot(subject)] = next(self._next) & _WORD

    def mark_everybody(self) -> None:
        """Any state, of any tenant, may be another now."""
        self._words[_EVERYBODY] = next(self._next) & _WORD

    def close(self) -> None:
        """The table is not to be used again."""
        self._file.close()

    def _slot(self, subject: str) -> int:
        return _HEAD_WORDS + zlib.crc32(subject.encode("utf-8", "surrogatepass"), self._seed) % _SLOTS
