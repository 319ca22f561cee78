"""Whether a machine is fit to serve: libraries, cores, memory, disk, open files; judges facts read elsewhere."""

import msgspec

from upnext.cli.doctor.check import Check, mebibytes, ok, problem, warning
from upnext.settings import Settings

_GROUP = "machine"
OLDEST_PYTHON = (3, 11)
LIBRARIES = ("onnxruntime", "faiss", "lmdb", "redis", "uvicorn", "uvloop", "httptools")
WORKER_BYTES = 250 * 2**20  # interpreter, libraries and buffers of a worker, without the tables whose size is set
_SHARED_BYTES = 32 * 2**20  # counters and figures that the workers of one server share
_OPEN_FILES = 4_096  # connections, and a few hundred files of its own
_SHORT_DAYS = 7.0  # until the disk is full


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine has."""

    python: tuple[int, int]
    libraries: dict[str, str | None]  # by name: its version; None where it cannot be imported
    architecture: str
    cpu_flags: frozenset[str] = frozenset()  # as Linux names them; empty where they cannot be read
    cores: float  # that this process may use: affinity, and the quota of a container
    memory_bytes: int  # of the machine or container, the smaller
    shared_free_bytes: int | None  # in /dev/shm; None where nothing can be written there
    disk_free_bytes: int  # where the home is
    open_files: int  # most per process


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a home asks of a machine."""

    workers: int
    release_bytes: int = 0  # mapped, shared by all workers
    bounds_bytes: int = 0  # of tables and caches, per worker, at most
    reserve_bytes: int = 0  # of disk, below which no event is taken
    growth_bytes_per_day: float = 0.0  # of the log


def needs_of(settings: Settings, release_bytes: int, growth_bytes_per_day: float) -> Needs:
    """What serving with these settings takes."""
    trends, ahead, items = settings.trends, settings.ahead, settings.items
    bounds = trends.covisit_bytes + trends.sessions_bytes + ahead.l1_bytes
    return Needs(
        workers=settings.serve.workers,
        release_bytes=release_bytes,
        bounds_bytes=bounds + (items.l1_bytes if items.tier == "store" else 0),
        reserve_bytes=settings.ingest.reserve_bytes,
        growth_bytes_per_day=growth_bytes_per_day,
    )


def check_machine(machine: Machine, needs: Needs) -> list[Check]:
    """All that concerns the machine."""
    return [
        _python(machine),
        _libraries(machine),
        _processor(machine),
        _cores(machine, needs),
        _memory(machine, needs),
        _disk(machine, needs),
        _shared(machine),
        _open_files(machine),
    ]


def _python(machine: Machine) -> Check:
    found = ".".join(map(str, machine.python))
    if machine.python < OLDEST_PYTHON:
        return problem(_GROUP, "Python", found, "install Python 3.11 or later and upnext in it")
    return ok(_GROUP, "Python", found)


def _libraries(machine: Machine) -> Check:
    absent = [name for name, version in machine.libraries.items() if version is None]
    if absent:
        return problem(_GROUP, "libraries", f"not importable: {', '.join(absent)}", "run: pip install upnext")
    found = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return ok(_GROUP, "libraries", found)


def _processor(machine: Machine) -> Check:
    flags = machine.cpu_flags
    if machine.architecture not in ("x86_64", "AMD64") or not flags:
        return ok(_GROUP, "processor", machine.architecture)
    if "avx2" not in flags:
        advice = "use a processor of 2013 or later: vector search and ranking take several times as long without"
        return warning(_GROUP, "processor", f"{machine.architecture} without AVX2", advice)
    if "avx512_vnni" in flags or "avx_vnni" in flags:
        return ok(_GROUP, "processor", f"{machine.architecture} with AVX2 and VNNI")
    advice = "int8 rankers are slower than they could be; train on this machine, so that the faster precision is chosen"
    return warning(_GROUP, "processor", f"{machine.architecture} with AVX2, without VNNI", advice)


def _cores(machine: Machine, needs: Needs) -> Check:
    found = f"{machine.cores:g} usable, serve.workers = {needs.workers}"
    if needs.workers > machine.cores:
        most = max(int(machine.cores), 1)
        return warning(_GROUP, "cores", found, f"set serve.workers = {most}: more workers than cores make slow answers")
    return ok(_GROUP, "cores", found)


def _memory(machine: Machine, needs: Needs) -> Check:
    least = needs.release_bytes + needs.workers * WORKER_BYTES
    most = least + needs.workers * needs.bounds_bytes
    found = f"{mebibytes(machine.memory_bytes)}; serving takes {mebibytes(least)} to {mebibytes(most)}"
    if machine.memory_bytes < least:
        return problem(
            _GROUP, "memory", found, 'use more memory, fewer serve.workers, or items.tier = "store" (docs/tiers.md)'
        )
    if machine.memory_bytes < most:
        return warning(
            _GROUP, "memory", found,
            "lower trends.covisit_bytes, trends.sessions_bytes or ahead.l1_bytes, or use fewer serve.workers",
        )  # fmt: skip
    return ok(_GROUP, "memory", found)


def _disk(machine: Machine, needs: Needs) -> Check:
    spare = machine.disk_free_bytes - needs.reserve_bytes
    found = f"{mebibytes(machine.disk_free_bytes)} free, ingest.reserve_bytes {mebibytes(needs.reserve_bytes)}"
    if spare <= 0:
        return problem(_GROUP, "disk", found, "make room: below the reserve producers get 503 and no event is taken")
    if needs.growth_bytes_per_day > 0:
        days = spare / needs.growth_bytes_per_day
        found += f", the log grows by {mebibytes(needs.growth_bytes_per_day)} a day: room for {days:,.0f} days"
        if days < _SHORT_DAYS:
            return warning(_GROUP, "disk", found, "make room, or move the home to a larger disk")
    return ok(_GROUP, "disk", found)


def _shared(machine: Machine) -> Check:
    free = machine.shared_free_bytes
    if free is None:
        advice = "mount a tmpfs there, so that what workers share is not written to a disk"
        return warning(_GROUP, "/dev/shm", "not writable", advice)
    if free < _SHARED_BYTES:
        advice = "make it larger (docker run --shm-size=256m), or remove what ended processes left there"
        return problem(_GROUP, "/dev/shm", f"{mebibytes(free)} free, a server needs {mebibytes(_SHARED_BYTES)}", advice)
    return ok(_GROUP, "/dev/shm", f"{mebibytes(free)} free")


def _open_files(machine: Machine) -> Check:
    found = f"{machine.open_files:,} per process"
    if machine.open_files < _OPEN_FILES:
        return warning(
            _GROUP, "open files", found,
            f"ulimit -n {_OPEN_FILES} (systemd: LimitNOFILE): every connection of a client takes one",
        )  # fmt: skip
    return ok(_GROUP, "open files", found)
