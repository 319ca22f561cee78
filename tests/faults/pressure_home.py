"""Homes to put under pressure, and what a server under pressure stands on: disks that fill up, a Redis with states."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.redis_servers import RedisServer
from upnext.clock import Deadline, SystemClock
from upnext.release.releases import Releases
from upnext.settings import StoreSettings
from upnext.store.lmdb_store import LmdbStore
from upnext.store.opening import open_store

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
_MIB = 2**20
_ROOM_BYTES = 640 * _MIB  # of a small disk, beyond what the home takes: the reserve, and what a run writes


@dataclass(frozen=True)
class World:
    """A home with an active release, and whom and what to ask it about. `releases`: to swap between."""

    home: Path
    users: Sequence[str]
    items: Sequence[str]

    @property
    def releases(self) -> list[str]:
        return Releases(self.home).ids()


def random_world(home: Path, n_items: int) -> World:
    """A release of random weights over `n_items`, made by `benchmarks/random_release.py`, with default settings."""
    script = BENCHMARKS / "random_release.py"
    subprocess.run([sys.executable, str(script), str(home), "--items", str(n_items)], check=True, cwd=BENCHMARKS)
    (home / "upnext.toml").unlink()  # the settings of another trial
    return World(home, *random_names(n_items))


def random_names(n_items: int, n_users: int = 20_000) -> tuple[list[str], list[str]]:
    """The ids of its users and items."""
    return [f"user{number}" for number in range(n_users)], [f"item{number}" for number in range(n_items)]


def another_release(home: Path) -> None:
    """A second release with the same parts, not active."""
    subprocess.run([sys.executable, str(BENCHMARKS / "second_release.py"), str(home)], check=True, cwd=BENCHMARKS)


def states_to_redis(home: Path, redis: RedisServer) -> None:
    """Copies what `home` knows of its users to Redis, from where a server with `store.url` reads it."""
    clock = SystemClock()
    never = Deadline.never(clock)
    local, remote = LmdbStore(home / "state", clock), open_store(home, redis_settings(redis), clock)
    try:
        for prefix in (b"state/", b"vectors/"):
            batch: list[tuple[bytes, bytes]] = []
            for key, value in local.scan(prefix):
                batch.append((key, value))
                if len(batch) == 1_000:
                    remote.put_many(batch, never)
                    batch.clear()
            remote.put_many(batch, never)
    finally:
        local.close()
        remote.close()


def redis_settings(redis: RedisServer) -> StoreSettings:
    return StoreSettings(url=f"{redis.url}/0", timeout_ms=5_000)


class SmallDisk:
    """A file system of its own in a file: `fill` takes the last byte of it, `free` gives them back."""

    def __init__(self, mounted: Path) -> None:
        self.mounted = mounted
        self._ballast = mounted / "ballast"

    def fill(self) -> None:
        zeros = bytes(_MIB)
        with self._ballast.open("wb", buffering=0) as file:
            for size in (_MIB, 4_096):  # not one block is left: others may write meanwhile
                with suppress(OSError):
                    while file.write(zeros[:size]):
                        pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """An ext4 of so many bytes, mounted in `folder`; needs root and a loop device. Raises `OSError` without them."""
    mounted, image = folder / "disk", folder / "disk.img"
    mounted.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(size_bytes)
    for command in (
        ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(mounted)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    try:
        yield SmallDisk(mounted)
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=False)
        image.unlink(missing_ok=True)


def copied(world: World, to: Path) -> World:
    """The same world in a home of its own."""
    shutil.copytree(world.home, to)
    return World(to, world.users, world.items)


def room_for(home: Path) -> int:
    """Bytes of a small disk that a run over `home` fits on, with the reserve that events need."""
    return _ROOM_BYTES + sum(file.stat().st_blocks * 512 for file in home.rglob("*") if file.is_file())
