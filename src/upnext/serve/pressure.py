"""When producers must slow down: the disk is nearly full, or states fall behind the log; knows no HTTP."""

import os
from pathlib import Path

from upnext.errors import Overloaded
from upnext.settings import IngestSettings


class Pressure:
    """Measured now and then by `measure`; asked before every batch of events by `check`, which costs nothing."""

    def __init__(self, home: Path, settings: IngestSettings) -> None:
        self._home = home
        self._settings = settings
        self._free_bytes: int | None = None
        self._lag_events = 0

    def measure(self, lag_events: int) -> None:
        """Takes note of how far states are behind the log, and of the free disk."""
        self._lag_events = lag_events
        disk = os.statvfs(self._home)
        self._free_bytes = disk.f_bavail * disk.f_frsize

    def check(self) -> None:
        """Raises `Overloaded` where accepting more could not end well."""
        settings = self._settings
        if self._free_bytes is not None and self._free_bytes < settings.reserve_bytes:
            raise Overloaded(
                f"{self._free_bytes} bytes are free on the disk of the event log, fewer than the reserve of "
                f"{settings.reserve_bytes}; nothing was taken: free space, then send it again",
                retry_after_s=settings.retry_after_s,
            )
        if self._lag_events > settings.lag_events:
            raise Overloaded(
                f"users' states are {self._lag_events} events behind the log, more than {settings.lag_events}; "
                "nothing was taken: send it again later",
                retry_after_s=settings.retry_after_s,
            )
