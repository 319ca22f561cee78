"""Waking an event loop at a moment, to microseconds where the system can; knows nothing of what is due then."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_INTERVAL_AND_VALUE = struct.Struct("llll")


class Alarm(Protocol):
    """Calls back once, some time after being armed; arming again replaces the former moment."""

    def arm(self, in_ms: float) -> None: ...

    def close(self) -> None: ...


class KernelAlarm:
    """A Linux timerfd. Event loops round their own timers to whole milliseconds, too coarse for a load of 5,000/s."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = loop
        self._ring = ring
        loop.add_reader(self._fd, self._expired)

    def arm(self, in_ms: float) -> None:
        nanoseconds = max(1, int(in_ms * 1e6))  # zero would disarm it
        self._libc.timerfd_settime(
            self._fd, 0, _INTERVAL_AND_VALUE.pack(0, 0, nanoseconds // 10**9, nanoseconds % 10**9), None
        )

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # armed again between the wake-up and this read
            return
        self._ring()


class LoopAlarm:
    """The event loop's own timer, for systems without timerfd; late by up to a millisecond."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, in_ms: float) -> None:
        self.close()
        self._handle = self._loop.call_later(in_ms / 1e3, self._ring)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


def finest_alarm(loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> Alarm:
    """The most precise alarm this system has."""
    try:
        return KernelAlarm(loop, ring)
    except (OSError, AttributeError):
        return LoopAlarm(loop, ring)
