"""Reads what a machine has from the system; judges nothing."""

import importlib.metadata
import importlib.util
import os
import platform
import resource
import shutil
import sys
from pathlib import Path

from upnext.cli.doctor.machine import LIBRARIES, Machine

_PACKAGES = {"faiss": "faiss-cpu"}  # where the module and its package have other names
_SHARED = Path("/dev/shm")


def read_machine(home: Path) -> Machine:
    """Of this process. `home` need not be there yet."""
    return Machine(
        python=(sys.version_info.major, sys.version_info.minor),
        libraries={name: _version(name) for name in LIBRARIES},
        architecture=platform.machine(),
        cpu_flags=cpu_flags(_text(Path("/proc/cpuinfo"))),
        cores=min(float(len(os.sched_getaffinity(0))), quota_cores(Path("/sys/fs/cgroup"))),
        memory_bytes=min(_physical_bytes(), memory_limit(Path("/sys/fs/cgroup"))),
        shared_free_bytes=shutil.disk_usage(_SHARED).free if os.access(_SHARED, os.W_OK) else None,
        disk_free_bytes=shutil.disk_usage(_existing(home)).free,
        open_files=_open_files(),
    )


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """What the first processor of /proc/cpuinfo can do; empty where it does not say."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def quota_cores(groups: Path) -> float:
    """Cores that the control group grants, of version 2 or 1; infinite where it sets no bound."""
    words = _text(groups / "cpu.max").split()
    if not words:
        words = [_text(groups / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return float("inf")
    return quota / period if quota > 0 and period > 0 else float("inf")


def memory_limit(groups: Path) -> int:
    """Bytes that the control group grants, of version 2 or 1; the largest integer where it sets no bound."""
    for file in (groups / "memory.max", groups / "memory" / "memory.limit_in_bytes"):
        text = _text(file).strip()
        if text.isdecimal():
            return int(text)
    return sys.maxsize


def _version(module: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(_PACKAGES.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.resolve()
    return path if path.exists() else _existing(path.parent)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
