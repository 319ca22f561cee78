"""What a release says of itself: its parts with their digests, and where it comes from; reads no part."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from upnext.errors import ReleaseCorrupt, ReleaseError

FORMAT = 2
MANIFEST_FILE = "manifest.json"
_DIGEST_CHARACTERS = 12


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a release."""

    kind: Literal["array", "json", "file"]
    file: str  # its name in the release's folder
    bytes: int
    sha256: str
    dtype: str | None = None  # of an array, as NumPy writes it: "<f4"
    shape: tuple[int, ...] | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a release says of itself.

    `id` ends in a digest of all the rest, so neither a part nor the manifest can change unnoticed.
    """

    format: int = FORMAT
    id: str
    created_ms: int
    upnext: str  # version that wrote it
    dataset: str = ""
    parent: str | None = None  # id of the release it was made from
    notes: str = ""
    reports: dict[str, Any] = {}  # evaluation, parity, … : small JSON values
    parts: dict[str, Part]


class _Versioned(msgspec.Struct):
    format: int


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with the id that its time and content give it, as `20231114T221320.000Z-0123456789ab`."""
    # Through JSON and back, so that the digest is of what a reader will find.
    manifest = msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest)
    moment = datetime.fromtimestamp(manifest.created_ms // 1000, UTC)
    time = f"{moment:%Y%m%dT%H%M%S}.{manifest.created_ms % 1000:03d}Z"
    return msgspec.structs.replace(manifest, id=f"{time}-{_digest(manifest)}")


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Writes it into `folder`, for people too; where."""
    path = folder / MANIFEST_FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    return path


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the release in `folder`.

    Raises `ReleaseError` when there is none or it is of a newer format, `ReleaseCorrupt` when it was damaged or
    altered or belongs to another folder.
    """
    path = folder / MANIFEST_FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"{folder} is not a release: its {MANIFEST_FILE} cannot be read ({error})") from error
    try:
        found = msgspec.json.decode(raw, type=_Versioned).format
        if found != FORMAT:
            raise ReleaseError(
                f"{path} is of format {found}, this version reads {FORMAT}; upgrade upnext or rebuild it"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise ReleaseCorrupt(f"{path} is damaged ({error}); {NEXT_STEP}") from error
    if sealed(manifest).id != manifest.id:
        raise ReleaseCorrupt(f"{path} was altered: its content does not match the id {manifest.id}; {NEXT_STEP}")
    if folder.resolve().name != manifest.id:
        raise ReleaseCorrupt(f"{path} is of release {manifest.id}, not of its folder's; {NEXT_STEP}")
    return manifest


NEXT_STEP = "restore the folder from a copy, or activate another release"


def _digest(manifest: Manifest) -> str:
    content = msgspec.json.encode(msgspec.structs.replace(manifest, id=""), order="deterministic")
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]
