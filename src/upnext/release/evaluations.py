"""What was measured of releases after they were written: the newest report of each kind; knows not what is in one."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from upnext.errors import DataError


class Evaluations:
    """The reports under `home`, a JSON file for each release and kind.

    They stand beside the releases, which are sealed: a release's digest is that of what it serves.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "evaluations"

    def keep(self, release_id: str, kind: str, report: bytes) -> Path:
        """Keeps a report, a JSON object, in place of the one of this release and kind. After a crash it is whole.

        Raises `DataError` where it cannot be written.
        """
        path = self._folder / release_id / f"{kind}.json"
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(report)
            os.replace(draft, path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise DataError(
                f"the evaluation of {release_id} cannot be kept at {path} ({error.strerror}); make room, or make the "
                "folder writable, and evaluate again"
            ) from error
        return path

    def of(self, release_id: str) -> dict[str, Any]:
        """The reports of a release by kind, in the order of names; none for one that was never evaluated.

        One that cannot be read stands there as `{"problem": why}`.
        """
        folder = self._folder / release_id
        if not folder.is_dir():
            return {}
        return {path.stem: _read(path) for path in sorted(folder.glob("[!.]*.json"))}


def _read(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        return {"problem": f"{path} cannot be read ({error}); evaluate the release again"}
