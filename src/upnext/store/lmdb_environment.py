"""One LMDB environment per folder and process: shared handles, growth, forks, errors; knows nothing of keys."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from upnext.clock import Deadline
from upnext.errors import StoreError, StoreTimeout
from upnext.store.disk import sync
from upnext.store.gate import Gate

T = TypeVar("T")
Transaction = Any  # lmdb.Transaction; the library is not typed for strict checking
Database = Any  # lmdb's handle of one named database

MIB = 1024 * 1024
_MAX_READERS = 512
_SPARE_TRANSACTIONS = 16
_DAMAGED = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
)


class LmdbEnvironment:
    """Read and write transactions over one folder, from many threads and, each with its own, many processes.

    Got from `open_environment`, never made directly: LMDB forbids opening a folder twice in one process.
    """

    def __init__(self, path: Path, *, durable: bool, map_size_bytes: int) -> None:
        self.path = path
        self.durable = durable
        self.users = 0  # guarded by `_registry_lock`
        self.forked = False
        self._gate = Gate()  # a map may only be resized while no transaction of this process is open
        self._writer = threading.Lock()  # LMDB has its own; this one can be waited for with a deadline
        self._databases: dict[bytes, Database] = {}
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lmdb: Any = lmdb.open(
                os.fspath(path),
                map_size=map_size_bytes,
                max_dbs=8,
                max_readers=_MAX_READERS,
                max_spare_txns=_SPARE_TRANSACTIONS,
                sync=durable,
                metasync=durable,
            )
            if durable:
                sync(path)
                sync(path.parent)
            self._lmdb.reader_check()  # frees the places, and with them the pages, of readers that were killed
        except (lmdb.Error, OSError) as error:
            raise _translated(error, path) from error

    def database(self, name: bytes, *, duplicates: bool = False) -> Database:
        """Handle of a named database, created when missing; with `duplicates` a key holds a sorted set of values."""
        if name not in self._databases:
            self._databases[name] = self.write(lambda txn: self._lmdb.open_db(name, txn=txn, dupsort=duplicates))
        return self._databases[name]

    def read(self, work: Callable[[Transaction], T], database: Database = None) -> T:
        """What `work` makes of one consistent snapshot; it may be called again, and must not open transactions."""
        while True:
            self._enter()
            try:
                with self._lmdb.begin(database) as transaction:
                    return work(transaction)
            except lmdb.MapResizedError:
                pass  # another process has grown the map: adopt its size, once outside the gate
            except lmdb.Error as error:
                raise _translated(error, self.path) from error
            finally:
                self._gate.leave()
            self._resize(0)

    def write(self, work: Callable[[Transaction], T], database: Database = None, deadline: Deadline | None = None) -> T:
        """What `work` returns, its changes committed; on any error none of them. It may be called again.

        Writers of all processes go one after the other. Raises `StoreTimeout`, having changed nothing, when the
        deadline passes before the commit; while another *process* holds the write lock, only afterwards.
        """
        left_s = -1.0 if deadline is None else min(max(deadline.left_ms(), 0.0) / 1e3, threading.TIMEOUT_MAX)
        if not self._writer.acquire(timeout=left_s):
            raise StoreTimeout(f"other writers held {self.path} past the deadline; try again or allow more time")
        try:
            while True:
                try:
                    return self._write_once(work, database, deadline)
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.MapResizedError:
                    self._resize(0)
                except lmdb.Error as error:
                    raise _translated(error, self.path) from error
        finally:
            self._writer.release()

    def _write_once(self, work: Callable[[Transaction], T], database: Database, deadline: Deadline | None) -> T:
        self._enter()
        try:
            with self._lmdb.begin(database, write=True) as transaction:
                result = work(transaction)
                if deadline is not None and deadline.passed():
                    raise StoreTimeout(f"the deadline passed while writing to {self.path}; nothing was changed")
                return result
        finally:
            self._gate.leave()

    def _enter(self) -> None:
        if self.forked:
            raise StoreError(
                f"{self.path} was opened before this process was forked, which LMDB forbids; open stores and logs "
                "after the fork, or start processes with the 'spawn' method"
            )
        self._gate.enter()

    def _grow(self) -> None:
        """Doubles the map. Places of dead readers are freed first, so that a leak of pages does not go on."""
        self._lmdb.reader_check()
        self._resize(2 * int(self._lmdb.info()["map_size"]))

    def _resize(self, map_size_bytes: int) -> None:
        """Sets the map's size; 0 adopts what another process made it."""
        with self._gate.alone():
            try:
                self._lmdb.set_mapsize(map_size_bytes)
            except lmdb.Error as error:
                raise _translated(error, self.path) from error

    def close(self) -> None:
        """Waits for transactions in flight, then flushes and closes. Called by `release_environment`."""
        with self._gate.alone():
            self._lmdb.sync(True)
            self._lmdb.close()


_registry: dict[str, LmdbEnvironment] = {}
_inherited: list[dict[str, LmdbEnvironment]] = []  # kept alive: closing them here would free the parent's readers
_registry_lock = threading.Lock()


def open_environment(path: Path, *, durable: bool, map_size_bytes: int) -> LmdbEnvironment:
    """The process's environment over the folder `path`, created when missing; `release_environment` gives it back.

    With `durable` a commit survives a power failure, without it a killed process. Raises `StoreError` when the
    folder cannot be used, or is open in this process with another durability.
    """
    key = os.path.realpath(path)
    with _registry_lock:
        environment = _registry.get(key)
        if environment is None:
            if any(key in inherited for inherited in _inherited):
                raise StoreError(f"{path} was open when this process was forked; start processes with 'spawn' instead")
            environment = LmdbEnvironment(Path(path), durable=durable, map_size_bytes=map_size_bytes)
            _registry[key] = environment
        elif environment.durable != durable:
            raise StoreError(f"{path} is already open with durable={environment.durable}; open it the same way")
        environment.users += 1
        return environment


def release_environment(environment: LmdbEnvironment) -> None:
    """Gives back what `open_environment` returned; the last one out closes the files."""
    with _registry_lock:
        environment.users -= 1
        if environment.users == 0 and not environment.forked:
            _registry.pop(os.path.realpath(environment.path), None)
            environment.close()


def _forget_in_child() -> None:
    global _registry, _registry_lock
    for environment in _registry.values():
        environment.forked = True
    _inherited.append(_registry)
    _registry = {}
    _registry_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)


def _translated(error: Exception, path: Path) -> StoreError:
    """The library's error as ours, with what to do next."""
    if isinstance(error, lmdb.BadValsizeError):
        return StoreError(f"LMDB at {path} refused a key or value for its size: {error}; keys are 1 to 511 bytes")
    if isinstance(error, lmdb.ReadersFullError):
        return StoreError(f"LMDB at {path} has {_MAX_READERS} readers at once; run fewer processes or threads on it")
    if isinstance(error, _DAMAGED):
        return StoreError(
            f"LMDB at {path} is damaged or not an LMDB folder ({error}); move it away, then restore a copy or, "
            "for state, rebuild it from the event log"
        )
    if getattr(error, "code", getattr(error, "errno", None)) == errno.ENOSPC or isinstance(error, lmdb.DiskError):
        return StoreError(f"LMDB at {path} cannot write: the disk is full ({error}); free space and try again")
    return StoreError(f"LMDB at {path} failed: {error}; check the folder, its permissions and the disk")
