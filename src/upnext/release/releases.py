"""The releases of one home folder, and which of them is active; knows nothing of what they hold."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from upnext.clock import Clock
from upnext.errors import ReleaseCorrupt, ReleaseError
from upnext.release.evaluations import Evaluations
from upnext.release.manifest import MANIFEST_FILE, Manifest, read_manifest
from upnext.release.release import Release
from upnext.release.writer import ReleaseWriter
from upnext.store.disk import sync

_KEPT_BEFORE = 100


class _Active(msgspec.Struct, frozen=True):
    """Content of the one small file that says what is active; replaced whole, so no reader sees half of it."""

    active: str
    before: tuple[str, ...] = ()  # ids active earlier, the latest last


class Releases:
    """All releases under `home`. Several processes may list, activate and watch at once."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "releases"
        self.evaluations = Evaluations(home)
        self._active_file = self.folder / "active.json"
        self._opened: str | None = None

    def ids(self) -> list[str]:
        """Ids of all committed releases, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.folder.iterdir()
            if not entry.name.startswith(".") and (entry / MANIFEST_FILE).is_file()
        )

    def manifest(self, release_id: str) -> Manifest:
        """What a release says of itself, its parts unread. Raises as `Release.open`."""
        return read_manifest(self._folder_of(release_id))

    def open(self, release_id: str) -> Release:
        """The release, verified. Raises `ReleaseError` for an unknown id, `ReleaseCorrupt` for a damaged one."""
        return Release.open(self._folder_of(release_id))

    def writer(self, clock: Clock | None = None) -> ReleaseWriter:
        """A new release to be written here."""
        return ReleaseWriter(self.folder, clock)

    def active_id(self) -> str | None:
        """Id of the active release, None before the first activation."""
        active = self._active()
        return active.active if active else None

    def before_id(self) -> str | None:
        """Id of the release that `rollback` would make active, None where there is none."""
        active = self._active()
        return active.before[-1] if active and active.before else None

    def open_active(self) -> Release:
        """The active release, verified. Raises `ReleaseError` when none is."""
        active_id = self.active_id()
        if active_id is None:
            raise ReleaseError(
                f"no release is active in {self.folder}; train one, or activate one of: {self._listed()}"
            )
        release = self.open(active_id)
        self._opened = active_id
        return release

    def activate(self, release_id: str) -> Release:
        """Verifies the release and makes it the active one, atomically; the one before is kept for `rollback`.

        On any error what was active stays active.
        """
        with self._locked():
            release = self.open(release_id)
            active = self._active()
            if active is None:
                self._replace(_Active(release_id))
            elif active.active != release_id:
                self._replace(_Active(release_id, (*active.before, active.active)[-_KEPT_BEFORE:]))
            return release

    def rollback(self) -> Release:
        """Makes the release active that was so before the active one; again, the one before that.

        Raises `ReleaseError` when there is none, `ReleaseCorrupt` when it is damaged; what is active then stays.
        """
        with self._locked():
            active = self._active()
            if active is None or not active.before:
                raise ReleaseError(f"no release was active before in {self.folder}; activate one of: {self._listed()}")
            release = self.open(active.before[-1])
            self._replace(_Active(active.before[-1], active.before[:-1]))
            return release

    def watcher(self) -> "ReleaseWatcher":
        """Tells when another release becomes active than the one `open_active` opened last, or the one active now."""
        return ReleaseWatcher(self, self._active_file, self._opened or self.active_id())

    def _folder_of(self, release_id: str) -> Path:
        if release_id not in self.ids():
            raise ReleaseError(f"there is no release {release_id!r} in {self.folder}, only: {self._listed()}")
        return self.folder / release_id

    def _listed(self) -> str:
        return ", ".join(self.ids()) or "none yet"

    def _active(self) -> _Active | None:
        try:
            return msgspec.json.decode(self._active_file.read_bytes(), type=_Active)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ReleaseCorrupt(
                f"{self._active_file} cannot be read ({error}); delete it and activate a release again"
            ) from error

    def _replace(self, active: _Active) -> None:
        fresh = self._active_file.with_name(".active.json")
        fresh.write_bytes(msgspec.json.encode(active))
        sync(fresh)
        os.replace(fresh, self._active_file)
        sync(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Activations of all processes one after the other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class ReleaseWatcher:
    """Notices that another release was activated, for the price of one `stat`."""

    def __init__(self, releases: Releases, active_file: Path, seen: str | None) -> None:
        self._releases = releases
        self._active_file = active_file
        self._seen = seen
        self._signature: tuple[int, int, int] | None = None

    def changed(self) -> str | None:
        """Id of the active release when it is another than at the call before, else None.

        What cannot be read counts as no change: whoever activates or opens a release is told.
        """
        try:
            status = os.stat(self._active_file)
            signature = (status.st_ino, status.st_mtime_ns, status.st_size)
            if signature == self._signature:
                return None
            active_id = self._releases.active_id()
        except (OSError, ReleaseCorrupt):
            return None
        self._signature = signature
        if active_id == self._seen:
            return None
        self._seen = active_id
        return active_id
