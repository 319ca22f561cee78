"""How far one request may go, before it begins: by its region's quality factor and guard, and by the load.

What was learnt of it afterwards goes back to all three. For the thread of the event loop.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from upnext.clock import Clock, Deadline
from upnext.funnel.guard import Guard
from upnext.funnel.quality import QualityFactor
from upnext.serve.admission import Admission
from upnext.settings import Settings
from upnext.store.interface import Store

_KEY = b"guard/"


@dataclass(slots=True)
class Course:
    """What one request may do."""

    region: str  # with the tenant before it; all that the catalogue does not know are one
    most: str  # the best tier to go for
    why: str | None  # … where it is not full: guard or admission
    quality: float
    budget_ms: float
    inside: Admission | None  # where it has a place to give back


class Steering:
    """Chooses courses for one worker."""

    def __init__(self, settings: Settings, clock: Clock, guard_file: Path, tenant: str) -> None:
        """`guard_file`: made by `shared_guard`, so that all workers of a server act on one guard per tenant."""
        self._tenant = tenant
        self.quality = QualityFactor(settings.pressure)
        self.guard = Guard(guard_file, settings.pressure, clock)
        self.admission = Admission(settings.pressure, clock)
        self._fast = Admission(settings.pressure, clock)
        self._budget = settings.budget
        self._clock = clock

    def begin(self, region: str | None, known: Collection[str], surface: str, asked_ms: float | None) -> Course:
        """The course of a request; `finish` or `give_up` must follow. Regions not `known` are steered as one."""
        region = self._name_of(region, known)
        budget_ms = self.budget_ms(surface, asked_ms)
        quality = self.quality.of(region)
        if self.guard.is_on(region):
            return self._lower(region, "guard", quality, budget_ms)
        if self.admission.enter():
            return Course(region, "full", None, quality, budget_ms, self.admission)
        return self._lower(region, "admission", quality, budget_ms)

    def quality_of(self, region: str | None, known: Collection[str]) -> float:
        """By how much the work of a request of `region` is scaled now."""
        return self.quality.of(self._name_of(region, known))

    def is_guarded(self, region: str | None, known: Collection[str]) -> bool:
        """Whether requests of `region` take the fast path now, on every worker."""
        return self.guard.is_on(self._name_of(region, known))

    def budget_ms(self, surface: str, asked_ms: float | None) -> float:
        """What a request may take: what it asks for, else what its surface is given."""
        return asked_ms or self._budget.surfaces.get(surface, self._budget.full_ms)

    def finish(self, course: Course, waited_ms: float, total_ms: float) -> None:
        """Learns from a request that was answered after `total_ms`, `waited_ms` of them for the compute thread.

        In time is what kept our own promise: a caller in a hurry must not make everybody's slates worse. One for which
        there was no room lowers the quality as one that was late does: with less work for each there is room for more.
        """
        in_time = total_ms <= self._budget.full_ms
        if course.inside:
            course.inside.leave(waited_ms, in_time)
        if course.why != "guard":  # the fast path says nothing of what there is room for
            self.quality.observe(course.region, in_time and course.most == "full")
        self.guard.observe(course.region, total_ms)

    def give_up(self, course: Course) -> None:
        """The request ended without an answer, by the client's leaving or by a failure."""
        if course.inside:
            course.inside.cancel()

    def _name_of(self, region: str | None, known: Collection[str]) -> str:
        return f"{self._tenant}/{region if region in known else ''}"

    def _lower(self, region: str, why: str, quality: float, budget_ms: float) -> Course:
        """The fast tier as long as there is room for that, else what is popular, which takes no compute thread."""
        fast_ms = min(budget_ms, self._budget.fast_ms)
        if self._fast.enter():
            return Course(region, "fast", why, quality, fast_ms, self._fast)
        return Course(region, "popular", why, quality, min(budget_ms, self._budget.popular_ms), None)

    async def share_guard(self, store: Store, known: Collection[str]) -> None:
        """Tells other machines on the same store of regions under guard here, and heeds theirs. Raises `StoreError`."""
        raised, regions = self.guard.raised(), [f"{self._tenant}/{region}" for region in ("", *known)]
        loop = asyncio.get_running_loop()
        for region, until_ms in await loop.run_in_executor(None, self._exchange, store, raised, regions):
            self.guard.turn_on(region, until_ms)

    def _exchange(self, store: Store, raised: list[tuple[str, int]], regions: list[str]) -> list[tuple[str, int]]:
        deadline, now_ms = Deadline.never(self._clock), self._clock.now_ms()
        for region, until_ms in raised:
            if until_ms > now_ms:
                store.put_many([(_key_of(region), b"%d" % until_ms)], deadline, ttl_ms=until_ms - now_ms)
        found = store.get_many([_key_of(region) for region in regions], deadline)
        return [(region, int(until)) for region, until in zip(regions, found, strict=True) if until is not None]

    def close(self) -> None:
        self.guard.close()


def _key_of(region: str) -> bytes:
    return _KEY + region.encode()[:400]
