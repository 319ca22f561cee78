"""Alarms ring once, not before their moment, and the last arming holds; whichever the system has."""

import asyncio
import sys
from collections.abc import Callable

import pytest
import uvloop

from upnext.bench.alarm import Alarm, KernelAlarm, LoopAlarm, finest_alarm
from upnext.clock import SystemClock

MakeAlarm = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Alarm]


def rings_ms(make: MakeAlarm, *armed_ms: float) -> list[float]:
    """When an alarm armed with each of these at once has rung, in ms, until it rings; then one more loop turn."""
    clock = SystemClock()

    async def wait() -> list[float]:
        rung: list[float] = []
        done = asyncio.Event()

        def ring() -> None:
            rung.append(clock.monotonic_ms() - start_ms)
            done.set()

        alarm = make(asyncio.get_running_loop(), ring)
        start_ms = clock.monotonic_ms()
        for in_ms in armed_ms:
            alarm.arm(in_ms)
        await asyncio.wait_for(done.wait(), 10.0)
        await asyncio.sleep(0.0)
        alarm.close()
        return rung

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(wait())


class AlarmSuite:
    make: MakeAlarm

    def test_it_rings_once_and_not_before_its_moment(self) -> None:
        (rung_ms,) = rings_ms(type(self).make, 20.0)
        assert rung_ms >= 18.0  # an event loop's own clock counts whole milliseconds

    def test_arming_again_replaces_the_former_moment(self) -> None:
        assert len(rings_ms(type(self).make, 60_000.0, 5.0)) == 1
        (rung_ms,) = rings_ms(type(self).make, 1.0, 30.0)
        assert rung_ms >= 28.0

    def test_a_moment_already_come_rings_at_once_rather_than_never(self) -> None:
        assert len(rings_ms(type(self).make, 0.0)) == 1
        assert len(rings_ms(type(self).make, -5.0)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is a Linux call")
class TestKernelAlarm(AlarmSuite):
    make = KernelAlarm


class TestLoopAlarm(AlarmSuite):
    make = LoopAlarm


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is a Linux call")
def test_linux_gets_the_precise_one() -> None:
    with asyncio.Runner() as runner:
        alarm = finest_alarm(runner.get_loop(), lambda: None)
        assert isinstance(alarm, KernelAlarm)
        alarm.close()
