"""Figures of a server while somebody watches it; knows neither HTTP nor what stands behind the counts."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from upnext.clock import Clock
from upnext.errors import UpnextError
from upnext.metrics.recorder import Metrics
from upnext.metrics.windows import Windows
from upnext.metrics.workers import Totals
from upnext.serve.figures import Point, Standing, figures_of, point_of

EVERY_S = 2.0
WINDOWS_S = (10, 60, 300)
_POINTS = 450  # a quarter of an hour
_MOST_GAP_S = 15.0
_encoder = msgspec.json.Encoder()
_log = logging.getLogger(__name__)


class Sampler:
    """Looks at the totals now and then, and tells what grew. For one thread at a time; takes milliseconds."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._windows = Windows(max(WINDOWS_S), _MOST_GAP_S)
        self._totals, self._standing = Totals(), Standing()
        self._points: deque[Point] = deque(maxlen=_POINTS)
        self._at_ms = 0
        self._made: dict[tuple[int, bool], bytes] = {}

    def sample(self, standing: Standing) -> bool:
        """One look; whether there has been one before, so that figures tell something."""
        self._made.clear()
        self._totals, self._standing, self._at_ms = self._metrics.totals(), standing, self._clock.now_ms()
        step = self._windows.add(self._totals, self._clock.monotonic_ms())
        if step is not None:
            self._points.append(point_of(step, self._at_ms))
        return step is not None

    def figures(self, window_s: int, *, tick: bool = False) -> bytes:
        """A `FiguresResponse` as JSON, made once for all who ask before the next look.

        As a `tick` it has the newest point alone, for those who have the others.
        """
        key = window_s, tick
        if key not in self._made:
            points = list(self._points)[-1:] if tick else list(self._points)
            figures = figures_of(
                self._windows.over(window_s), self._totals, self._standing,
                at_ms=self._at_ms, window_s=window_s, points=points,
            )  # fmt: skip
            self._made[key] = _encoder.encode(figures)
        return self._made[key]


class LiveFigures:
    """A sampler at work in a thread of its own, as long as somebody watches or has asked a short while ago.

    For the event loop, which it never holds up. Whoever asks gets what was made last, however many they are.
    """

    def __init__(
        self, sampler: Sampler, standing: Callable[[], Standing],
        *, every_s: float = EVERY_S, first_s: float = 0.5, idle_s: float = 60.0,
    ) -> None:  # fmt: skip
        """`standing` is asked in the event loop. The second look comes `first_s` after the first one."""
        self._sampler = sampler
        self._standing = standing
        self._every_s, self._first_s, self._idle_s = every_s, first_s, idle_s
        self._thread = ThreadPoolExecutor(1, "figures")
        self._task: asyncio.Task[None] | None = None
        self._fresh = asyncio.Event()  # set, and replaced, with every look
        self._tells = False  # whether the last look tells anything
        self._watching = 0
        self._asked_s = 0.0

    @property
    def at_work(self) -> bool:
        """Whether it looks at the totals these days."""
        return self._task is not None

    async def current(self, window_s: int, *, tick: bool = False) -> bytes:
        """The figures as JSON; after a rest of the sampler they are there a moment later.

        Raises `UpnextError` where counts cannot be read.
        """
        self._asked_s = asyncio.get_running_loop().time()
        self._begin()
        while not self._tells:
            await self._fresh.wait()
            if self._task is None:
                raise UpnextError("the counts of the workers cannot be read; the server's log has the reason")
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._sampler.figures(window_s, tick=tick)
        )

    async def updates(self, window_s: int) -> AsyncGenerator[bytes, None]:
        """The figures now, then with every look; the first one alone has all points. Never ends by itself."""
        self._watching += 1
        try:
            yield await self.current(window_s)
            while True:
                await self._fresh.wait()
                yield await self.current(window_s, tick=True)
        finally:
            self._watching -= 1

    def close(self) -> None:
        """Ends the thread."""
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        if self._task is None:
            self._tells = False
            self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._watching or loop.time() - self._asked_s <= self._idle_s:
                self._tells = await loop.run_in_executor(self._thread, self._sampler.sample, self._standing())
                self._wake()
                await asyncio.sleep(self._every_s if self._tells else self._first_s)
        except OSError:
            _log.exception("the counts of the workers cannot be read")
        finally:
            self._task, self._tells = None, False
            self._wake()

    def _wake(self) -> None:
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()
