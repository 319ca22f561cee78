"""`upnext precompute`: shortlists for the most active users, worked out before they ask; for cron and schedulers."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table

from upnext.cli.home import Home, opened_home
from upnext.cli.options import home_option, json_option, set_option
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps, console
from upnext.clock import SystemClock
from upnext.errors import DataError
from upnext.release.releases import Releases
from upnext.settings import Settings, StoreSettings, load_settings

if TYPE_CHECKING:
    from upnext.ahead.active import ActiveUser
    from upnext.ahead.precompute import Precompute
    from upnext.funnel.live import Live

_INTERRUPTED = 130  # exit status
_PATIENT_MS = 1_000.0  # a round trip to a remote store may take at least so long where nobody waits
_clock = SystemClock()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. Made, kept and skipped are of all runs that it took; seconds and users per second of this one."""

    release: str
    done: bool  # or else interrupted
    active: int
    chosen: int
    made: int  # anew
    kept: int  # there was one that holds
    skipped: int  # no state to make one from
    seconds: float
    users_per_s: float


@dataclass(slots=True)
class _Told:
    """Whether somebody has told this process to end."""

    told: bool = False


class _ToldWhileListing(Exception):
    """This run has made nothing yet, so there is nothing to end cleanly."""


@click.command("precompute")
@home_option
@click.option("--share", type=float, help="Of active users, the most active.  [default: ahead.head_share, 0.2]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many users.")
@json_option
@set_option
def precompute_command(
    home: Path, share: float | None, limit: int | None, json_path: Path | None, overrides: tuple[str, ...]
) -> None:
    """Work out the shortlists of the most active users of HOME with the active release, before they ask.

    Works beside a running server, which answers with them at once. Interrupted (Ctrl-C, SIGTERM) or killed, it goes
    on when started again. Users whose shortlist still holds are passed over. Exits with 0 when done, 1 on an error,
    130 when interrupted.

    \b
    Example:
      upnext precompute --home shop --share 0.2
    """
    from upnext.ahead.progress import only_one

    if not (home / "log").is_dir():
        raise DataError(f"there is no home at {home}: it has no log; check --home, or run `upnext import` first")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a search has no use for more, and a server may run beside
    merged = [*overrides, *([f"ahead.head_share={share}"] if share is not None else [])]
    settings, store_settings = _settings_of(home, merged)
    with (
        only_one(home / "ahead" / "precompute.lock"),
        _told_to_end() as end,
        opened_home(home, store_settings) as open_,
    ):
        try:
            outcome = _run(open_, settings, limit, end)
            while outcome is None:
                console.print("another release was activated meanwhile; beginning anew with it")
                outcome = _run(open_, settings, limit, end)
        except _ToldWhileListing:
            console.print("interrupted while the log was read; start again at will")
            sys.exit(_INTERRUPTED)
    if hand_over(outcome, json_path):
        console.print(_table(outcome))
    if not outcome.done:
        console.print("interrupted; the same command again goes on from here")
        sys.exit(_INTERRUPTED)


def _settings_of(home: Path, overrides: Sequence[str]) -> tuple[Settings, StoreSettings]:
    """Those that a server has for this home, and for its store: a tenant's lies in the server's, under `tenants`."""
    from upnext.serve.keys import DEFAULT_TENANT
    from upnext.serve.tenants import store_settings_of

    path = home.resolve()
    is_tenant = path.parent.name == "tenants"
    settings = load_settings(path.parents[1] if is_tenant else home, os.environ, overrides)
    store = store_settings_of(path.name if is_tenant else DEFAULT_TENANT, settings.store)
    return settings, msgspec.structs.replace(store, timeout_ms=max(store.timeout_ms, _PATIENT_MS))


def _run(home: Home, settings: Settings, limit: int | None, end: _Told) -> Outcome | None:
    """One run with the release that is active now; None when another one was activated before its end."""
    from upnext.ahead.precompute import Precompute

    steps, releases = ScreenSteps(), Releases(home.path)
    with steps.step("opening the release"):
        live, follow = _opened_live(home, releases, settings)
        folder = home.path / "ahead"
        batch = Precompute(live, home.store, settings.ahead, _clock, folder / "precompute.json")
    active, users, sequence = _listed(home, batch, settings, limit, end, steps)
    progress = batch.begin(users, sequence)
    if progress.position:
        console.print(f"going on after {progress.position:,} of {len(users):,} users")

    def stop() -> bool:
        follow()
        return end.told or releases.active_id() != live.release_id

    begin, begin_ms = progress.position, _clock.monotonic_ms()
    with steps.step("shortlists") as show:
        progress = batch.run(
            users, progress, stop=stop,
            tell=lambda now: show(now.position, len(users), f"{now.made:,} made, {now.kept:,} kept"),
        )  # fmt: skip
    seconds = (_clock.monotonic_ms() - begin_ms) / 1e3
    done = progress.position == len(users)
    if not done and not end.told:
        return None
    return Outcome(
        release=live.release_id,
        done=done,
        active=active,
        chosen=len(users),
        made=progress.made,
        kept=progress.kept,
        skipped=progress.skipped,
        seconds=round(seconds, 3),
        users_per_s=round((progress.position - begin) / max(seconds, 1e-3), 1),
    )


def _opened_live(home: Home, releases: Releases, settings: Settings) -> "tuple[Live, Callable[[], None]]":
    """The active release with items and crowd as of now, as a server's worker has it, and what keeps it so."""
    from upnext.features.item_rows import item_tier
    from upnext.funnel.live import open_live
    from upnext.serve.follower import CrowdFollower
    from upnext.serve.posted_items import PostedItems

    live = open_live(releases.open_active(), settings, _clock, tier=item_tier(home.store, settings.items))
    items = PostedItems(home.records, lambda: live)
    items.follow()  # before the crowd, which counts only items that have a row
    follower = CrowdFollower(live, home.event_log, home.path / "crowd", settings.trends, _clock)
    follower.catch_up()

    def follow() -> None:
        items.follow()
        follower.catch_up()

    return live, follow


def _listed(
    home: Home, batch: "Precompute", settings: Settings, limit: int | None, end: _Told, steps: ScreenSteps
) -> "tuple[int, list[ActiveUser], int]":
    """How many users are active, the most active ones, and as of which event: that of a run broken off, if any."""
    from upnext.ahead.active import activity_of

    ahead, before = settings.ahead, batch.left_off()

    def listed(sequence: int) -> "tuple[int, list[ActiveUser], int]":
        with steps.step("active users") as show:

            def tell(done: int, total: int) -> None:
                if end.told:
                    raise _ToldWhileListing
                show(done, total, "")

            activity = activity_of(home.event_log, ahead.active_ms, until=sequence, tell=tell)
            users = activity.most_active(ahead.head_share, pinned_share=ahead.pinned_share, limit=limit)
            show(1, 1, f"{len(users):,} of {len(activity):,}")
        return len(activity), users, sequence

    if before is not None:
        again = listed(before.log_sequence)
        if batch.begin(again[1], again[2]).position:  # else others were asked for, or one was forgotten meanwhile
            return again
    return listed(home.event_log.last())


@contextmanager
def _told_to_end() -> Iterator[_Told]:
    """Inside, the first Ctrl-C or SIGTERM is only noted; a second one ends the process as ever."""
    end = _Told()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: object) -> None:
        end.told = True
        restore()
        console.print("ending once the batch under way is stored")

    for number in before:
        signal.signal(number, note)
    try:
        yield end
    finally:
        restore()


def _table(outcome: Outcome) -> Table:
    table = Table(title=f"shortlists, release {outcome.release}", title_justify="left")
    cells = (
        ("users active", f"{outcome.active:,}"),
        ("chosen", f"{outcome.chosen:,}"),
        ("made", f"{outcome.made:,}"),
        ("kept", f"{outcome.kept:,}"),
        ("skipped", f"{outcome.skipped:,}"),
        ("seconds", f"{outcome.seconds:,.1f}"),
        ("users/s", f"{outcome.users_per_s:,.0f}"),
    )
    for name, _ in cells:
        table.add_column(name, justify="right")
    table.add_row(*(cell for _, cell in cells))
    return table
