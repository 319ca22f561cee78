"""A session encoder that may fail or hang: steps are taken only while its breaker allows; knows no encoder."""

import copy
import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from upnext.clock import Clock
from upnext.errors import UpnextError
from upnext.metrics.seldom import Seldom
from upnext.state.advance import SessionStepper
from upnext.state.step_input import StepInput

Floats = npt.NDArray[np.float32]
_HANGS_MS = 50.0
_failures = Seldom(logging.getLogger(__name__))


class NoStep(UpnextError):
    """The session encoder cannot take a step now; vectors lag behind until it can."""


class Breaker(Protocol):
    """Stops calls of something that fails or hangs. Called by several threads."""

    @property
    def state(self) -> str:
        """ "closed" where every call goes through."""

    def allow(self) -> bool:
        """Whether a call may start now. After True there is exactly one `record`."""

    def record(self, spent_ms: float, ok: bool) -> None:
        """What became of a call that was allowed."""


class GuardedStepper:
    """A `SessionStepper` whose `step` raises `NoStep`, at once where it can, in place of failing or hanging.

    A step cannot be interrupted. So while one has been under way for 50 ms, a thousand times what it should take, no
    other thread begins one: what hangs costs one thread, however long it hangs. Adds about 1 µs to a step.
    """

    def __init__(self, stepper: SessionStepper, breaker: Breaker, clock: Clock) -> None:
        self.encoders = stepper.encoders
        self._stepper = stepper
        self._breaker = breaker
        self._clock = clock
        self._probes = True
        self._under_way: dict[object, float] = {}  # when each step began

    def never_probing(self) -> "GuardedStepper":
        """The same for a thread that nothing may hold up again and again: it leaves it to others to try first."""
        other = copy.copy(self)
        other._probes = False
        return other

    def step(self, hidden: Sequence[Floats], inputs: Sequence[StepInput]) -> list[tuple[Floats, Floats] | None]:
        begin_ms = self._clock.monotonic_ms()
        if self._under_way and begin_ms - min(self._under_way.copy().values(), default=begin_ms) >= _HANGS_MS:
            raise NoStep("the session encoder hangs; vectors lag behind until it comes back")
        if not (self._probes or self._breaker.state == "closed") or not self._breaker.allow():
            raise NoStep("the session encoder failed or hung a moment ago; it is tried again in a moment")
        this, ok = object(), False
        self._under_way[this] = begin_ms
        try:
            steps = self._stepper.step(hidden, inputs)
            ok = True
        except Exception as error:
            _failures.exception("the session encoder failed; vectors lag behind until it can step again", error)
            raise NoStep("the session encoder failed; vectors lag behind until it can step again") from error
        finally:
            del self._under_way[this]
            self._breaker.record(self._clock.monotonic_ms() - begin_ms, ok)
        return steps
