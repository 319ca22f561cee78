"""A second release with the parts of the active one, not active: something to swap to."""

import argparse
import shutil
from pathlib import Path

import msgspec

from upnext.release.manifest import sealed, write_manifest
from upnext.release.releases import Releases


def add_second_release(home: Path) -> str:
    """Its id. Raises `ReleaseError` when `home` has no active release."""
    release = Releases(home).open_active()
    manifest = release.manifest
    again = sealed(msgspec.structs.replace(manifest, created_ms=manifest.created_ms + 1, notes="the same again"))
    draft = release.folder.with_name(".again")
    shutil.copytree(release.folder, draft)
    write_manifest(again, draft)
    draft.rename(release.folder.with_name(again.id))
    return again.id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    print(add_second_release(parser.parse_args().home))


if __name__ == "__main__":
    main()
