"""Shortlists for many users ahead of their requests: made where none holds, stored batch by batch, taken up again.

Knows neither how users are chosen nor what a log is.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from upnext.ahead.active import ActiveUser
from upnext.ahead.making import region_of, request_of, shortlist_of
from upnext.ahead.progress import Progress, digest_of, read_progress, write_progress
from upnext.clock import Clock, Deadline
from upnext.errors import ReleaseError, StoreError
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live
from upnext.settings import AheadSettings
from upnext.state.shortlist import Shortlist, shortlist_key
from upnext.state.user_state import UserState, state_key
from upnext.store.interface import Store

_BATCH_USERS = 200
_PAUSES_S = (0.2, 1.0, 5.0)  # before a store that is out of reach is tried again
Value = TypeVar("Value")


class Precompute:
    """Works for a list of users, with one release. `path` is the file that says how far it is."""

    def __init__(
        self,
        live: Live,
        store: Store,
        settings: AheadSettings,
        clock: Clock,
        path: Path,
        *,
        batch_users: int = _BATCH_USERS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises `ReleaseError` for a release that has no ranker, since its rankings are not worth keeping."""
        if live.funnel.ranker is None:
            raise ReleaseError(
                f"release {live.release_id} has no ranker, so there is nothing to work out ahead; train a new one"
            )
        self._live = live
        self._store = store
        self._settings = settings
        self._clock = clock
        self._path = path
        self._batch_users = batch_users
        self._pause = pause
        self._never = Deadline.never(clock)

    def left_off(self) -> Progress | None:
        """Where a run with this release was broken off; None for none, or too long ago to go on with its users."""
        before = read_progress(self._path)
        if before is None or before.release != self._live.release_id:
            return None
        age_ms = self._clock.now_ms() - before.started_ms
        return before if 0 <= age_ms < self._settings.precomputed_age_ms / 2 else None

    def begin(self, users: Sequence[ActiveUser], log_sequence: int) -> Progress:
        """Where to begin with these users, who were listed when the log had `log_sequence` events.

        Where an earlier run left off, if it had the same users; else at the first.
        """
        before, digest = self.left_off(), digest_of(users)
        if before is not None and before.users == digest:
            return before
        return Progress(
            release=self._live.release_id, log_sequence=log_sequence, users=digest, started_ms=self._clock.now_ms()
        )

    def run(
        self,
        users: Sequence[ActiveUser],
        progress: Progress,
        *,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Goes on from `progress` to the end of `users`, or until `stop` says so; how far it came.

        What is stored is noted after each batch, so whatever ends the process costs one batch. At the end the note is
        removed. `tell` hears of each batch, `stop` is asked before each. Raises `StoreError` when the store stays out
        of reach; what was noted stays.
        """
        while progress.position < len(users):
            if stop():
                return progress
            batch = users[progress.position : progress.position + self._batch_users]
            made, kept = self._batch(batch)
            progress = msgspec.structs.replace(
                progress,
                position=progress.position + len(batch),
                made=progress.made + made,
                kept=progress.kept + kept,
                skipped=progress.skipped + len(batch) - made - kept,
            )
            write_progress(self._path, progress)
            tell(progress)
        self._path.unlink(missing_ok=True)
        return progress

    def _batch(self, users: Sequence[ActiveUser]) -> tuple[int, int]:
        """For how many of `users` a shortlist was made and stored, and how many have one that holds."""
        due, kept = self._due(users)
        shortlists = {user.subject: made for user in due if (made := self._made(user)) is not None}
        if not shortlists:
            return 0, kept
        packed = [(shortlist_key(subject), shortlist.pack()) for subject, shortlist in shortlists.items()]
        ttl_ms = self._settings.precomputed_age_ms
        self._patiently(lambda: self._store.put_many(packed, self._never, ttl_ms=ttl_ms))
        # A user who was forgotten meanwhile has no state any more, and shall have no shortlist.
        states = self._read([state_key(subject) for subject in shortlists])
        gone = [shortlist_key(subject) for subject, raw in zip(shortlists, states, strict=True) if _n_moves(raw) < 0]
        if gone:
            self._patiently(lambda: self._store.delete_many(gone, self._never))
        return len(shortlists) - len(gone), kept

    def _due(self, users: Sequence[ActiveUser]) -> tuple[list[ActiveUser], int]:
        """Those who need a shortlist, and how many have one that holds; the others have no state to make one from."""
        states = self._read([state_key(user.subject) for user in users])
        stored = self._read([shortlist_key(user.subject) for user in users])
        due, kept = [], 0
        for user, state, raw in zip(users, states, stored, strict=True):
            n_moves = _n_moves(state)
            if n_moves < 0:
                continue
            if self._holds(Shortlist.unpack(raw), user, n_moves):
                kept += 1
            else:
                due.append(user)
        return due, kept

    def _holds(self, shortlist: Shortlist | None, user: ActiveUser, n_moves: int) -> bool:
        """Whether it is what would be made now, and good for half its time yet."""
        if shortlist is None or shortlist.origin != "precompute":
            return False
        same = (shortlist.release, shortlist.n_moves) == (self._live.release_id, n_moves)
        asked = (shortlist.region, shortlist.genres, shortlist.head) == (
            region_of(user.region, self._live.funnel.catalog),
            (),
            user.head,
        )
        age_ms = self._clock.now_ms() - shortlist.made_ms
        return same and asked and 0 <= age_ms < self._settings.precomputed_age_ms / 2

    def _made(self, user: ActiveUser) -> Shortlist | None:
        """The user's shortlist as of now; None when their state cannot be read, or a stage failed."""
        view = self._view(user.subject)
        if view is None:
            return None
        live = self._live
        request = request_of(user.subject, user.region, live.funnel.catalog)
        answer = Answer(live.funnel.popular())
        live.funnel.run(request, answer, lambda _: view, self._never)
        return shortlist_of(
            request,
            answer,
            release=live.release_id,
            now_ms=self._clock.now_ms(),
            origin="precompute",
            below=self._settings.below,
            head=user.head,
        )

    def _view(self, subject: str) -> UserView | None:
        """None for a user whose record is damaged: the store can be read, and still they cannot."""
        for _ in range(2):
            try:
                return self._live.view(subject, self._store, self._never)
            except StoreError:
                self._read([state_key(subject)])  # waits for a store that is out of reach
        return None

    def _read(self, keys: list[bytes]) -> list[bytes | None]:
        return self._patiently(lambda: self._store.get_many(keys, self._never))

    def _patiently(self, call: Callable[[], Value]) -> Value:
        """What `call` returns, once the store lets it. Raises `StoreError` after a few vain attempts."""
        for pause_s in _PAUSES_S:
            try:
                return call()
            except StoreError:
                self._pause(pause_s)
        try:
            return call()
        except StoreError as error:
            raise StoreError(
                f"the store was tried {len(_PAUSES_S) + 1} times in {sum(_PAUSES_S):.0f} s and is out of reach "
                f"({error}); see that it runs, then start `upnext precompute` again: it goes on from there"
            ) from error


def _n_moves(raw: bytes | None) -> int:
    """`n_moves` of a packed state; -1 for none, for the mark of one erased, and for a damaged one."""
    try:
        state = UserState.unpack(raw)
    except StoreError:
        return -1
    return state.n_moves if state.state_version else -1
