"""Whether the machine's date can be trusted: synchronised, steady, not before what it has already written."""

import ctypes
from pathlib import Path

import msgspec

from upnext.cli.doctor.check import Check, ok, problem, warning

_GROUP = "clock"
_FUTURE_MS = 60_000  # clocks of producers may be ahead by as much without harm
_STEP_MS = 50.0
_BAD_ERROR_MS = 1_000.0
# Of `struct timex` on 64-bit Linux: modes (4 bytes, padded to 8), offset, freq, maxerror, esterror, status.
_TIMEX_BYTES, _MAX_ERROR_AT, _STATUS_AT, _UNSYNCHRONISED = 256, 24, 40, 0x0040


class ClockFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the system's clock."""

    now_ms: int
    # by how much the date moved against the steady clock while the doctor was at work
    step_ms: float = 0.0
    synchronised: bool | None = None  # with a time server; None where the system does not say
    max_error_ms: float | None = None  # as the system believes
    newest_event_ms: int | None = None  # None without events


def check_clock(facts: ClockFacts) -> list[Check]:
    """All that concerns the date. A wrong date makes events of now look old or of the future, which are refused."""
    return [_steady(facts), _synchronised(facts), _behind(facts)]


def _steady(facts: ClockFacts) -> Check:
    if abs(facts.step_ms) > _STEP_MS:
        return warning(
            _GROUP, "steady", f"the date jumped by {facts.step_ms:,.0f} ms while this was looked at",
            "let a time service slew the clock instead of setting it (chrony, systemd-timesyncd)",
        )  # fmt: skip
    return ok(_GROUP, "steady", f"no jump ({facts.step_ms:+.1f} ms)")


def _synchronised(facts: ClockFacts) -> Check:
    if facts.synchronised is None:
        return ok(_GROUP, "synchronised", "this system does not say")
    if not facts.synchronised:
        advice = "start a time service: timedatectl set-ntp true, or chrony; in a container, on its host"
        return warning(_GROUP, "synchronised", "not with any time server", advice)
    if facts.max_error_ms is not None and facts.max_error_ms > _BAD_ERROR_MS:
        advice = "see why the time service reaches no server: chronyc tracking, timedatectl timesync-status"
        return warning(_GROUP, "synchronised", f"yes, but to {facts.max_error_ms:,.0f} ms only", advice)
    return ok(_GROUP, "synchronised", "yes")


def _behind(facts: ClockFacts) -> Check:
    if facts.newest_event_ms is None:
        return ok(_GROUP, "after all events", "there is no event yet")
    ahead_ms = facts.newest_event_ms - facts.now_ms
    if ahead_ms > _FUTURE_MS:
        return problem(
            _GROUP, "after all events", f"the newest events are {ahead_ms / 1e3:,.0f} s in the future",
            "the date was set back, or was wrong when they came: set it right, else trends and sessions stand still",
        )  # fmt: skip
    return ok(_GROUP, "after all events", "yes")


def read_synchronised() -> tuple[bool | None, float | None]:
    """Whether the kernel's clock is synchronised, and to how many milliseconds; Nones where it cannot be asked."""
    if Path("/run/systemd/timesync/synchronized").exists():
        return True, None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # all 0: only asks
        if library.adjtimex(timex) < 0:
            return None, None
    except (OSError, AttributeError):  # no Linux
        return None, None
    if ctypes.sizeof(ctypes.c_long) != 8:
        return None, None
    status = ctypes.c_int.from_buffer(timex, _STATUS_AT).value
    return not status & _UNSYNCHRONISED, ctypes.c_long.from_buffer(timex, _MAX_ERROR_AT).value / 1e3
