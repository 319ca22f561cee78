"""All checks of one home, in their order; judges nothing itself."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from upnext.cli.asking import ask
from upnext.cli.doctor.check import Check, problem
from upnext.cli.doctor.clock import ClockFacts, check_clock, read_synchronised
from upnext.cli.doctor.keys import check_keys
from upnext.cli.doctor.log import LogFacts, check_log
from upnext.cli.doctor.log_facts import read_log
from upnext.cli.doctor.machine import check_machine, needs_of
from upnext.cli.doctor.machine_facts import read_machine
from upnext.cli.doctor.release import check_release, release_bytes
from upnext.cli.doctor.server import check_server
from upnext.cli.doctor.settings_files import check_settings
from upnext.cli.doctor.store import check_store
from upnext.cli.doctor.store_facts import read_store
from upnext.clock import SystemClock
from upnext.errors import UpnextError
from upnext.release.releases import Releases

_PATIENCE_MS = 5_000
Tell = Callable[[int, int, str], None]


def examine(
    home: Path, *, url: str | None = None, key: str | None = None, overrides: Sequence[str] = (), quick: bool = False,
    tell: Tell = lambda done, total, what: None,
) -> list[Check]:  # fmt: skip
    """Everything there is to say of `home`, the machine, and the server at `url` if one is named.

    Nothing is changed, so a server may run meanwhile. `quick`: without what takes seconds.
    """
    clock, begun = SystemClock(), (time.time_ns(), time.monotonic_ns())
    settings, of_settings = check_settings(home, overrides, quick=quick)
    if not home.is_dir():
        advice = f"check --home, or begin one: upnext import PATH --home {home}"
        of_settings = [problem("settings", "home", f"there is no folder {home}", advice)]
        return [*check_machine(read_machine(home), needs_of(settings, 0, 0.0)), *of_settings]
    tell(1, 5, "store")
    of_store = check_store(read_store(home, settings.store, clock))
    tell(2, 5, "log")
    facts = read_log(home, settings, clock)
    of_log = check_log(facts, settings.ingest.lag_events, str(home))
    tell(3, 5, "release")
    of_release = check_release(home, settings, clock, quick=quick)
    tell(4, 5, "machine")
    needs = needs_of(settings, release_bytes(home), facts.growth_bytes_per_day)
    of_machine = check_machine(read_machine(home), needs)
    of_keys = check_keys(home, settings.serve.host, clock)
    of_server = _server(home, url, key) if url else []
    tell(5, 5, "")
    of_clock = check_clock(_clock_facts(begun, facts))
    return [*of_machine, *of_settings, *of_store, *of_log, *of_release, *of_keys, *of_clock, *of_server]


def _clock_facts(begun: tuple[int, int], log: LogFacts) -> ClockFacts:
    wall_ns, steady_ns = begun
    passed_ns = time.time_ns() - wall_ns - (time.monotonic_ns() - steady_ns)
    synchronised, error_ms = read_synchronised()
    return ClockFacts(
        now_ms=time.time_ns() // 1_000_000,
        step_ms=passed_ns / 1e6,
        synchronised=synchronised,
        max_error_ms=error_ms,
        newest_event_ms=log.newest_event_ms,
    )


def _server(home: Path, url: str, key: str | None) -> list[Check]:
    answer, told = None, ""
    try:
        answer = ask(url, "/readyz", key=key, timeout_ms=_PATIENCE_MS)
    except UpnextError as error:
        told = str(error)
    try:
        active_id = Releases(home).active_id()
    except UpnextError:  # told by the check of the release
        active_id = None
    return check_server(url, answer, told, active_id)
