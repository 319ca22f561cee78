"""A release made of another one with some parts replaced; knows nothing of what the parts mean."""

from collections.abc import Callable

from upnext.release.release import Release
from upnext.release.writer import ReleaseWriter


def copy_parts(release: Release, writer: ReleaseWriter, leave_out: Callable[[str], bool]) -> list[str]:
    """Adds every part of `release` to `writer`, under its name, but for those to be left out; the names added."""
    copied = [name for name in release.manifest.parts if not leave_out(name)]
    for name in copied:
        kind = release.manifest.parts[name].kind
        if kind == "array":
            writer.add_array(name, release.array(name))
        elif kind == "json":
            writer.add_json(name, release.json(name))
        else:
            writer.add_file(name, release.path(name))
    return copied
