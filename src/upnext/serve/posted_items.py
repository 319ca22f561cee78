"""Items that are posted, changed and deleted while a release is in force: durable, and heeded by every request."""

import time
from collections.abc import Callable, Sequence

from upnext.domain.event import Item
from upnext.funnel.live import Live
from upnext.ingest.records import Records

_BREATH_S = 0.001  # between chunks of new items, for requests to run


class PostedItems:
    """The records of items, and the release in force kept up to date with them."""

    def __init__(self, records: Records, live: Callable[[], Live | None]) -> None:
        """`live` gives the release in force, None while there is none."""
        self._records = records
        self._live = live

    def heed(self, live: Live) -> None:
        """What was deleted or blocked before this call leaves in no slate after it. Nearly free when nothing was."""
        revision = self._records.revision()
        if revision > live.fresh.heeded:
            live.fresh.withdraw(self._records.withdrawals(live.fresh.heeded), revision)

    def follow(self) -> None:
        """Every change made so far, by whatever worker, holds in the release in force when this returns."""
        if live := self._live():
            self.bring_up_to_date(live)

    def bring_up_to_date(self, live: Live) -> None:
        """As `follow`, for a release that is about to be in force."""
        while changes := self._records.changes(live.fresh.revision):
            live.fresh.apply(changes)
        while live.fresh.take_in():
            time.sleep(_BREATH_S)

    def put(self, items: Sequence[Item]) -> None:
        """Durably puts items in place of those with the same ids; this worker knows them when it returns."""
        self._records.put_items(items)
        self.follow()

    def delete(self, item_id: str) -> bool:
        """Durably deletes an item, known or not; whether it had been there. No later slate has it."""
        known = self._records.delete_items([item_id]) > 0
        self.follow()
        return known
