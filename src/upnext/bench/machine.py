"""On what and with what a figure was measured; knows nothing of the figure."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

_PACKAGES = ("upnext", "numpy", "uvloop", "httptools", "msgspec", "onnxruntime", "faiss-cpu", "starlette", "uvicorn")


class Machine(msgspec.Struct, frozen=True):
    """The machine of the load. `usable_cores`: those this process may run on; `load`: the 1-minute average."""

    cpu: str
    cores: int
    usable_cores: int
    memory_bytes: int
    system: str
    python: str
    load: float
    versions: dict[str, str]
    commit: str | None


def this_machine(repository: Path | None = None) -> Machine:
    """What is known now. `commit` is that of the repository around `repository`, by default around this file."""
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
        versions=_versions(),
        commit=commit_of(repository or Path(__file__).parent),
    )


def commit_of(folder: Path) -> str | None:
    """Short commit id of the git work tree around `folder`, with `+` when files differ from it; None outside of one."""
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
