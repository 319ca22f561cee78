"""Dead letters tried again: through the gate, into log or records, out of the queue; knows no particular contract."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Protocol

import msgspec

from upnext.contracts.gate import Admitted, Refused
from upnext.domain.event import Event
from upnext.errors import DataError
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import DeadLetter, Selection

_BATCH_LETTERS = 500
_BATCH_BYTES = 4 * 2**20
_IN_FUTURE = "timestamp_in_future"


class Admit(Protocol):
    """The gate for one kind of record. `event_id` makes the id of an event whose producer gave none."""

    def __call__(
        self, body: bytes, content_type: str, *, now_ms: int, event_id: Callable[[], str]
    ) -> Admitted[Any]: ...


class Door(msgspec.Struct, frozen=True):
    """Where letters of one kind go: the gate, and the durable write, which gives None for what was there before."""

    admit: Admit
    write: Callable[[Sequence[Any]], Sequence[int | None]]


class ReplayReport(msgspec.Struct, kw_only=True):
    """What became of the letters chosen."""

    replayed: int = 0  # letters that passed and have left the queue
    records: int = 0  # of them: written
    duplicates: int = 0  # of them: left out, since they were there before
    withheld: int = 0  # of them: neither written nor kept any longer, for want of consent
    still_refused: int = 0  # letters that stay
    by_reason: dict[str, int] = {}  # of those that stay
    missing: list[int] = []  # numbers asked for that are not in the queue (any more)


class _Tried(msgspec.Struct):
    """A letter after the gate."""

    letter: DeadLetter
    records: list[Any]
    left: list[DeadLetter]  # what takes the letter's place in the queue
    withheld: int


def replay(
    dead_letters: DeadLetters, selection: Selection, doors: Mapping[str, Door], *, now_ms: int, gate: str
) -> ReplayReport:
    """Puts the chosen letters that wait now through the gate of version `gate` once more.

    What passes is written durably, then leaves the queue; what is refused stays, with its new reason. Of a letter
    with several records of which some pass, the others become letters of their own. A missing timestamp is the
    moment the letter was received; a missing event id is made of the queue's id, the letter's number and the place
    in the letter, so a replay that was killed, or runs twice at once, adds nothing twice. `doors` has every kind of
    letter chosen. What `write` raises passes through: the letters of that batch stay, earlier ones are done.
    """
    report = ReplayReport(missing=_missing(dead_letters, selection.numbers))
    last = dead_letters.totals().last  # letters left over come behind it, and are not tried again
    chosen = (
        letter
        for letter in dead_letters.select(selection)
        if letter.number <= last and not (selection.after_upgrade and letter.gate == gate)
    )
    for batch in _batches(chosen):
        tried = [_try(letter, doors[letter.kind], dead_letters.id, now_ms, gate) for letter in batch]
        _finish(dead_letters, tried, doors, report)
    return report


def replay_with(
    dead_letters: DeadLetters,
    number: int,
    fixed: bytes,
    doors: Mapping[str, Door],
    *,
    now_ms: int,
    gate: str,
    content_type: str | None = None,
) -> ReplayReport:
    """Puts `fixed`, an operator's mended bytes, through the gate in the place of letter `number`.

    When all of it passes it is written as `replay` does, and the letter leaves the queue; otherwise nothing is
    written, the letter stays as it was, and the report says why. A number that is not in the queue (any more) is
    `missing`, so a second call does nothing. `content_type`: of `fixed`, by default the letter's. Raises `DataError`,
    having changed nothing, when `fixed` is empty.
    """
    if not fixed:
        raise DataError(
            f"the mended bytes of dead letter {number} are empty; nothing was changed, give the whole record"
        )
    letter = dead_letters.get(number)
    if letter is None:
        return ReplayReport(missing=[number])
    report = ReplayReport()
    mended = msgspec.structs.replace(letter, raw=fixed, content_type=content_type or letter.content_type)
    tried = _try(mended, doors[letter.kind], dead_letters.id, now_ms, gate)
    if tried.left:
        _count_left(report, tried.left)
    else:
        _finish(dead_letters, [tried], doors, report)
    return report


def _try(letter: DeadLetter, door: Door, queue_id: str, now_ms: int, gate: str) -> _Tried:
    """The letter through the gate; pure, and the same whenever it is called with the same gate."""
    made: set[str] = set()

    def event_id() -> str:
        made.add(placeholder := f"{queue_id}-{letter.number}-made{len(made)}")
        return placeholder

    judged = door.admit(letter.raw, letter.content_type, now_ms=letter.received_ms, event_id=event_id)
    taken = {part.index for part in judged.refused}
    places = (place for place in count() if place not in taken)
    found = list(zip(places, judged.records, strict=False))
    refused: list[Refused] = []
    for part in judged.refused:
        # What lay in the future when it came may be past by now.
        later = (
            door.admit(part.raw, letter.content_type, now_ms=now_ms, event_id=event_id) if _was_early(part) else None
        )
        if later and later.records and not later.refused:
            found += [(part.index, record) for record in later.records]
        else:
            refused.append(part)
    # Named by place, not in the order of making: another version of the gate may have to make another number of ids.
    records = [
        msgspec.structs.replace(record, event_id=f"{queue_id}-{letter.number}-{place}")
        if isinstance(record, Event) and record.event_id in made
        else record
        for place, record in sorted(found, key=lambda pair: pair[0])
    ]
    kept = [part for part in refused if part.raw]
    withheld = judged.withheld + len(refused) - len(kept)
    return _Tried(letter, records, _left(letter, kept, gate, whole=not records and not withheld), withheld)


def _was_early(part: Refused) -> bool:
    return part.error.reason == _IN_FUTURE and bool(part.raw)


def _left(letter: DeadLetter, refused: Sequence[Refused], gate: str, *, whole: bool) -> list[DeadLetter]:
    """What stays of a letter: itself with its first fault when nothing of it passed, else each part refused."""
    left = [
        msgspec.structs.replace(
            letter,
            number=letter.number if whole else 0,
            raw=letter.raw if whole else part.raw,
            reason=part.error.reason,
            path=part.error.path,
            message=str(part.error),
            schema=part.schema or letter.schema,
            producer=part.producer or letter.producer,
            gate=gate,
        )
        for part in refused
    ]
    return left[:1] if whole else left


def _finish(
    dead_letters: DeadLetters, tried: Sequence[_Tried], doors: Mapping[str, Door], report: ReplayReport
) -> None:
    """Writes what passed, and only then takes it out of the queue."""
    for kind, door in doors.items():
        records = [record for each in tried if each.letter.kind == kind for record in each.records]
        if records:
            written = sum(number is not None for number in door.write(records))
            report.records += written
            report.duplicates += len(records) - written
    report.replayed += dead_letters.settle({each.letter.number: each.left for each in tried})
    report.withheld += sum(each.withheld for each in tried)
    for each in tried:
        _count_left(report, each.left)


def _count_left(report: ReplayReport, left: Iterable[DeadLetter]) -> None:
    reasons = Counter(letter.reason for letter in left)
    report.still_refused += reasons.total()
    report.by_reason = dict(Counter(report.by_reason) + reasons)


def _missing(dead_letters: DeadLetters, numbers: Collection[int] | None) -> list[int]:
    return [number for number in sorted(set(numbers or ())) if dead_letters.get(number) is None]


def _batches(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Short lists, in letters and in bytes: one write and one flush for each."""
    batch: list[DeadLetter] = []
    size_bytes = 0
    for letter in letters:
        batch.append(letter)
        size_bytes += len(letter.raw)
        if len(batch) >= _BATCH_LETTERS or size_bytes >= _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
