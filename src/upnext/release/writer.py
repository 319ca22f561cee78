"""Writes a release part by part, and makes it visible at once or not at all; knows nothing of the parts' meaning."""

import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

import upnext
from upnext.clock import Clock, SystemClock
from upnext.errors import ReleaseError
from upnext.release.manifest import MANIFEST_FILE, Manifest, Part, sealed, write_manifest
from upnext.release.release import Release, sha256_of
from upnext.store.disk import sync

DRAFT_PREFIX = ".draft-"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class ReleaseWriter:
    """Collects parts in a hidden folder beside the releases, until `commit`.

    As a context manager it abandons what was not committed. A process that dies leaves the hidden folder behind,
    which nothing ever reads.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        """A new, empty release to be kept in `folder`, the folder of all releases."""
        self._folder = folder
        self._clock = clock or SystemClock()
        self._draft = folder / f"{DRAFT_PREFIX}{uuid.uuid4().hex}"
        self._parts: dict[str, Part] = {}
        self._ended = False
        try:
            self._draft.mkdir(parents=True)
        except OSError as error:
            raise ReleaseError(f"no release can be written in {folder} ({error}); check its permissions") from error

    def add_array(self, name: str, array: npt.NDArray[Any]) -> None:
        """Adds an array of numbers, booleans or fixed-size bytes, of any shape."""
        array = np.asarray(array)
        if array.dtype.hasobject:
            raise ReleaseError(f"array {name!r} holds Python objects; give numbers or fixed-size strings")
        with self._new(name, ".npy").open("wb") as file:
            np.lib.format.write_array(file, np.asanyarray(array, order="C"), allow_pickle=False)
        self._added(name, ".npy", "array", dtype=array.dtype.str, shape=array.shape)

    def add_json(self, name: str, document: Any) -> None:
        """Adds anything JSON can hold; msgspec structs and dataclasses too."""
        try:
            encoded = msgspec.json.encode(document)
        except (TypeError, ValueError) as error:
            raise ReleaseError(f"{name!r} cannot be written as JSON ({error}); give plain values") from error
        self._new(name, ".json").write_bytes(encoded)
        self._added(name, ".json", "json")

    def add_bytes(self, name: str, content: bytes, suffix: str = "") -> None:
        """Adds a file with this content; its name ends in `suffix`, as in `.onnx`."""
        self._new(name, suffix).write_bytes(content)
        self._added(name, suffix, "file")

    def add_file(self, name: str, path: Path) -> None:
        """Adds a copy of a file, keeping its suffix."""
        try:
            shutil.copyfile(path, self._new(name, path.suffix))
        except OSError as error:
            raise ReleaseError(f"{path} cannot be copied into the release ({error})") from error
        self._added(name, path.suffix, "file")

    def commit(
        self,
        *,
        dataset: str = "",
        parent: str | None = None,
        notes: str = "",
        reports: Mapping[str, Any] | None = None,
    ) -> Release:
        """Makes the release visible, whole and flushed to the disk, under the id it returns with; not yet active."""
        self._check_open()
        manifest = Manifest(
            id="",
            created_ms=self._clock.now_ms(),
            upnext=upnext.__version__,
            dataset=dataset,
            parent=parent,
            notes=notes,
            reports=dict(reports or {}),
            parts=self._parts,
        )
        manifest = sealed(manifest)
        while (self._folder / manifest.id).exists():  # the same content within one millisecond
            manifest = sealed(msgspec.structs.replace(manifest, created_ms=manifest.created_ms + 1))
        sync(write_manifest(manifest, self._draft))
        sync(self._draft)
        os.rename(self._draft, self._folder / manifest.id)
        sync(self._folder)
        self._ended = True
        return Release.open(self._folder / manifest.id, verify=False)

    def abandon(self) -> None:
        """Removes everything written so far; nothing to do after `commit`."""
        self._ended = True
        shutil.rmtree(self._draft, ignore_errors=True)

    def __enter__(self) -> "ReleaseWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def _new(self, name: str, suffix: str) -> Path:
        """Where a new part's file goes."""
        self._check_open()
        file = f"{name}{suffix}"
        if not _NAME.fullmatch(name) or not _NAME.fullmatch(file) or file == MANIFEST_FILE:
            raise ReleaseError(f"{file!r} is no name for a part; use letters, digits, '.', '_' and '-'")
        path = self._draft / file
        if name in self._parts or path.exists():
            raise ReleaseError(f"the release has a part {name!r} or a file {file!r} already; choose another name")
        return path

    def _added(
        self,
        name: str,
        suffix: str,
        kind: Literal["array", "json", "file"],
        dtype: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        path = self._draft / f"{name}{suffix}"
        sync(path)
        size_bytes, digest = path.stat().st_size, sha256_of(path)
        self._parts[name] = Part(kind=kind, file=path.name, bytes=size_bytes, sha256=digest, dtype=dtype, shape=shape)

    def _check_open(self) -> None:
        if self._ended:
            raise ReleaseError("this release was committed or abandoned already; start another writer")
