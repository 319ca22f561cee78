"""Of requests that ask for the same at the same time only one works; the others wait for what it finds."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Flight(Generic[Value]):
    """One piece of work under way. `value` may be looked at before it has landed."""

    __slots__ = ("_landed", "value")

    def __init__(self, value: Value, landed: "asyncio.Future[None]") -> None:
        self.value = value
        self._landed = landed

    async def landed(self, left_ms: float) -> bool:
        """Whether the work ended, one way or another, within `left_ms`."""
        if self._landed.done():
            return True
        done, _ = await asyncio.wait((self._landed,), timeout=max(left_ms, 0.0) / 1e3)
        return bool(done)


class SingleFlight(Generic[Value]):
    """The work under way, by what it is for. For the thread of the event loop.

    The name is that of the Go package x/sync/singleflight. Work here always has something to show (see `Answer`), so
    those that wait go on with what is there when their own time is over.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[Value]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def under_way(self, key: Hashable) -> Flight[Value] | None:
        """The work for `key`, None when nobody is at it."""
        return self._flights.get(key)

    def begin(self, key: Hashable, value: Value) -> None:
        """The caller is at it now; `end` must follow, whatever becomes of it."""
        self._flights[key] = Flight(value, asyncio.get_running_loop().create_future())

    def end(self, key: Hashable) -> None:
        """The caller is through; whoever waits goes on."""
        flight = self._flights.pop(key)
        if not flight._landed.done():
            flight._landed.set_result(None)
