"""One import from source to log and records, with a report; knows formats only by the records they yield."""

from collections.abc import Callable

import msgspec

from upnext.clock import Clock
from upnext.contracts.event import check_event
from upnext.contracts.item import check_item
from upnext.contracts.user import check_user
from upnext.domain.event import Event, Item, User
from upnext.errors import ContractError
from upnext.ingest.importers.source import Record, Rejected, Source
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records

BATCH_RECORDS = 5_000
EXAMPLES_PER_REASON = 3

# Called after every batch with the rows read so far and the part of the input they are, 0 to 1.
Progress = Callable[[int, float], None]


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a data set. `rejected` counts by reason; `examples` are the first few of each."""

    format: str
    rows_read: int
    accepted_events: int
    duplicates: int
    withheld: int
    items: int
    users: int
    rejected: dict[str, int]
    examples: dict[str, list[Rejected]]


def import_into(
    source: Source, log: EventLog, records: Records, *, clock: Clock, progress: Progress | None = None
) -> ImportReport:
    """Appends the source's events to `log` and puts its items and users into `records`, in batches.

    Every record passes the checks that HTTP traffic passes; those that fail are counted as rejected. `duplicates`
    are events the log already held, `withheld` those without consent, of which nothing is kept. An error in the middle
    leaves what was imported so far; running it again
    completes it, since event ids do not change.
    """
    run = _Run(source, log, records, clock)
    for record in source.records():
        run.take(record)
        if run.pending == BATCH_RECORDS:
            run.flush()
            if progress:
                progress(source.rows_read, source.fraction_read())
    run.flush()
    if progress:
        progress(source.rows_read, 1.0)
    return run.report()


class _Run:
    """The batches and counts of one import."""

    def __init__(self, source: Source, log: EventLog, records: Records, clock: Clock) -> None:
        self._source = source
        self._log = log
        self._records = records
        self._clock = clock
        self._now_ms = clock.now_ms()
        self._events: list[Event] = []
        self._items: list[Item] = []
        self._users: list[User] = []
        self._accepted = self._duplicates = self._withheld = self._items_put = self._users_put = 0
        self._rejected: dict[str, int] = {}
        self._examples: dict[str, list[Rejected]] = {}
        self.pending = 0

    def take(self, record: Record) -> None:
        try:
            if isinstance(record, Event):
                check_event(record, now_ms=self._now_ms)
                if not record.consent:
                    self._withheld += 1
                    return
                self._events.append(record)
            elif isinstance(record, Item):
                check_item(record)
                self._items.append(record)
            elif isinstance(record, User):
                check_user(record)
                self._users.append(record)
            else:
                self._reject(record)
                return
        except ContractError as error:
            line = self._source.line
            self._reject(Rejected(line, error.reason, f"line {line}: {error}"))
            return
        self.pending += 1

    def flush(self) -> None:
        """What is pending is durably in the log and the records."""
        if self._items:
            self._records.put_items(self._items)
        if self._users:
            self._records.put_users(self._users)
        if self._events:
            new = sum(sequence is not None for sequence in self._log.append(self._events))
            self._accepted += new
            self._duplicates += len(self._events) - new
        self._items_put += len(self._items)
        self._users_put += len(self._users)
        self._events, self._items, self._users = [], [], []
        self.pending = 0
        self._now_ms = self._clock.now_ms()

    def report(self) -> ImportReport:
        return ImportReport(
            format=self._source.format,
            rows_read=self._source.rows_read,
            accepted_events=self._accepted,
            duplicates=self._duplicates,
            withheld=self._withheld,
            items=self._items_put,
            users=self._users_put,
            rejected=self._rejected,
            examples=self._examples,
        )

    def _reject(self, rejected: Rejected) -> None:
        reason = rejected.reason
        self._rejected[reason] = self._rejected.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES_PER_REASON:
            examples.append(rejected)
