"""What one worker does ahead of requests, wired: what it keeps, what it hears of, what it works out in between."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from upnext.ahead.making import request_of
from upnext.ahead.occasions import Occasions
from upnext.ahead.shortlists import Beside, Shortlists
from upnext.clock import Clock, Deadline
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live
from upnext.settings import AheadSettings, StoreSettings
from upnext.state.changes import Changes, shared_changes
from upnext.state.shortlist import Origin
from upnext.state.user_state import subject_of_key
from upnext.store.feed import open_feed
from upnext.store.interface import Store

# Reads a view of a subject, and beside it the values under the keys of the dictionary, which it fills.
View = Callable[[Live, str | None, Deadline, Beside], UserView]


class Ahead:
    """The shortlists of one tenant in one worker, and the occasions on which more are made."""

    def __init__(
        self,
        store: Store,
        store_settings: StoreSettings,
        settings: AheadSettings,
        clock: Clock,
        *,
        tenant: str,
        changes_file: Path | None,
        live: Callable[[], Live | None],
        view: View,
        offer: Callable[[Callable[[], None]], None],
        most_ms: float,
    ) -> None:
        """`changes_file`: made by `shared_changes` for all workers of a server; None: this one is alone.

        `live` gives the release in force, `view` reads users, `offer` takes work for a moment in which nobody waits;
        each piece of it may take `most_ms`.
        """
        self._live = live
        self._view = view
        self._clock = clock
        self._most_ms = most_ms
        with nullcontext(changes_file) if changes_file else shared_changes() as changes:
            self.changes = Changes(changes, tenant)
        self.feed = open_feed(store_settings, clock, self._changed_elsewhere, self.changes.mark_everybody)
        self.shortlists = Shortlists(
            store,
            self.changes,
            clock,
            settings,
            local=not store_settings.url,
            trusted=lambda: self.feed.trusted,
        )
        self.occasions = Occasions(settings, clock, self._work, offer)

    def close(self) -> None:
        """Hears of nothing any more."""
        self.feed.close()
        self.changes.close()

    def _changed_elsewhere(self, keys: Sequence[bytes]) -> None:
        """By another machine on the same store, or by this one."""
        self.changes.mark(subject_of_key(key) for key in keys)

    def _work(self, subject: str, origin: Origin, region: str) -> None:
        """Works out what a user will be shown next, unless that is in the store already; for the compute thread."""
        live = self._live()
        if live is None or live.funnel.ranker is None:
            return
        request, answer = request_of(subject, region, live.funnel.catalog), Answer(live.funnel.popular())
        deadline, beside = Deadline.after(self._clock, self._most_ms), self.shortlists.beside(subject)
        live.funnel.run(
            request,
            answer,
            lambda until: self._view(live, subject, until, beside),
            deadline,
            lambda answer: self.shortlists.take_beside(live, request, answer, beside),
        )
        if answer.shortlist is None:
            self.shortlists.keep_stored(live, request, answer, origin)
