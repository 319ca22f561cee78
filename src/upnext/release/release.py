"""One release, opened: verified, its arrays mapped into memory; knows nothing of what they mean."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.errors import ReleaseCorrupt, ReleaseError
from upnext.release.manifest import NEXT_STEP, Manifest, Part, read_manifest

Array = npt.NDArray[Any]


class Release:
    """An immutable folder of named parts. Opened with `Release.open`, written by `ReleaseWriter`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._arrays: dict[str, Array] = {}
        self._documents: dict[str, Any] = {}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> "Release":
        """The release in `folder`, every part checked for existence and size and, with `verify`, for its SHA-256.

        Raises `ReleaseCorrupt` naming the first file that is not as it was written, `ReleaseError` when there is
        no release.
        """
        manifest = read_manifest(folder)
        for part in manifest.parts.values():
            _check(folder / part.file, part, digest=verify)
        return cls(folder, manifest)

    @property
    def id(self) -> str:
        return self.manifest.id

    def __contains__(self, name: object) -> bool:
        return name in self.manifest.parts

    def array(self, name: str) -> Array:
        """The array `name`, mapped read-only: pages are read when touched and shared between processes."""
        if name not in self._arrays:
            self._arrays[name] = self._load(name, "r")
        return self._arrays[name]

    def own_array(self, name: str) -> Array:
        """The array `name` to write to, mapped anew: a page is copied when first written, the file never changes."""
        return self._load(name, "c")

    def json(self, name: str) -> Any:
        """The JSON document `name`, decoded once; shared, so not to be changed."""
        if name not in self._documents:
            path = self.folder / self._part(name, "json").file
            try:
                self._documents[name] = msgspec.json.decode(path.read_bytes())
            except (OSError, msgspec.DecodeError) as error:
                raise ReleaseCorrupt(f"{path} cannot be read as JSON ({error}); {NEXT_STEP}") from error
        return self._documents[name]

    def path(self, name: str) -> Path:
        """Where the file of part `name` is, whatever its kind."""
        return self.folder / self._part(name).file

    def _load(self, name: str, mode: Literal["r", "c"]) -> Array:
        part = self._part(name, "array")
        path = self.folder / part.file
        empty = 0 in (part.shape or ())  # nothing to map
        try:
            # A plain view of the map: the `memmap` class makes every small operation slower.
            array = np.asarray(np.load(path, mmap_mode=None if empty else mode, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise ReleaseCorrupt(f"{path} cannot be read as an array ({error}); {NEXT_STEP}") from error
        if (array.dtype.str, array.shape) != (part.dtype, part.shape):
            raise ReleaseCorrupt(f"{path} holds {array.dtype.str} {array.shape}, not as listed; {NEXT_STEP}")
        return array

    def _part(self, name: str, kind: str | None = None) -> Part:
        part = self.manifest.parts.get(name)
        if part is None or (kind is not None and part.kind != kind):
            has = ", ".join(sorted(key for key, other in self.manifest.parts.items() if kind in (None, other.kind)))
            raise ReleaseError(f"release {self.id} has no {kind or 'part'} {name!r}, only: {has or 'nothing'}")
        return part


def _check(path: Path, part: Part, *, digest: bool) -> None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != part.bytes:
            raise ReleaseCorrupt(f"{path} has {size_bytes} bytes instead of {part.bytes}; {NEXT_STEP}")
        if digest and sha256_of(path) != part.sha256:
            raise ReleaseCorrupt(f"{path} was altered: its SHA-256 is not the manifest's; {NEXT_STEP}")
    except OSError as error:
        raise ReleaseCorrupt(f"{path} is missing or cannot be read ({error}); {NEXT_STEP}") from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
