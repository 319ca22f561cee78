"""One thing that was looked at: how it is, what was found, what to do; knows nothing of what is looked at."""

from typing import Literal

import msgspec

State = Literal["ok", "warning", "problem"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """`problem`: it does not work, or soon will not, or is not safe. `warning`: it works, but should be known."""

    group: str  # machine, settings, store, release, log, keys, clock, server
    name: str
    state: State
    found: str
    advice: str = ""  # what to do; empty where nothing is to be done


def ok(group: str, name: str, found: str) -> Check:
    """As it should be."""
    return Check(group=group, name=name, state="ok", found=found)


def warning(group: str, name: str, found: str, advice: str) -> Check:
    """Works, but should be known."""
    return Check(group=group, name=name, state="warning", found=found, advice=advice)


def problem(group: str, name: str, found: str, advice: str) -> Check:
    """Does not work, soon will not, or is not safe."""
    return Check(group=group, name=name, state="problem", found=found, advice=advice)


def mebibytes(n_bytes: float) -> str:
    """For people: `310 MiB`, `12.4 GiB`."""
    mib = n_bytes / 2**20
    return f"{mib / 1024:,.1f} GiB" if mib >= 1024 else f"{mib:,.0f} MiB"
