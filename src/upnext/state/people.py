"""All that is kept of one person, wherever it is kept: shown, and erased; knows nothing of who asks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from upnext.clock import Deadline
from upnext.domain.event import Event, User
from upnext.domain.identity import subject_of
from upnext.ingest.consumer import stored_generation
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import DeadLetter, view
from upnext.ingest.log_interface import EventLog
from upnext.ingest.records import Records
from upnext.ingest.served import JoinedSlate
from upnext.ingest.served_slates import ServedSlates
from upnext.state.session_consumer import SESSION
from upnext.state.shortlist import Shortlist, shortlist_key
from upnext.state.user_state import UserState, UserVectors, known_encoders, state_key, vectors_key
from upnext.store.interface import Store

# An erased user's state is marked as having applied the whole log for so long, since a consumer may still hold events
# that it read before they were erased. The mark says nothing of the person but that they were erased.
_MARK_MS = 10 * 60_000


@dataclass(frozen=True)
class Known:
    """What is known of one person. A person's sessions are those that their events name."""

    user_id: str
    record: User | None
    states: dict[str, tuple[UserState, dict[str, UserVectors]]]  # by subject; vectors by the name of their encoders
    events: list[tuple[int, Event]]  # in the order of the log
    slates: list[JoinedSlate]
    dead_letters: list[DeadLetter]
    shortlists: dict[str, Shortlist]  # by subject; what was worked out to answer their next request


@dataclass(frozen=True)
class Erased:
    """How much was erased of one person."""

    record: bool
    events: int
    states: int
    slates: int
    dead_letters: int


def document(known: Known, name_of: Callable[[int], str | None] = lambda key: None) -> dict[str, Any]:
    """All of it as plain data. `name_of` tells an item's id by its key, for those that a release has."""
    return {
        "user_id": known.user_id,
        "record": _named(known.record) if known.record else None,
        "states": [_state(subject, *held, name_of) for subject, held in known.states.items()],
        "events": [{"sequence": number, **_named(event)} for number, event in known.events],
        "slates": [_slate(joined) for joined in known.slates],
        "dead_letters": [msgspec.to_builtins(view(letter)) for letter in known.dead_letters],
        "shortlists": [_shortlist(subject, held) for subject, held in known.shortlists.items()],
    }


@dataclass(frozen=True)
class People:
    """The places where something is kept of people."""

    event_log: EventLog
    store: Store
    records: Records
    dead_letters: DeadLetters
    served: ServedSlates
    encoders_in_force: Callable[[], Sequence[str]] = tuple  # beside those that the store knows of
    moved: Callable[[Iterable[str]], None] = lambda subjects: None  # hears whose states were stored

    def known(self, user_id: str, deadline: Deadline) -> Known:
        """All of it. Takes milliseconds, and longer where dead letters are many. Raises `StoreError`."""
        subjects = self._subjects(user_id)
        return Known(
            user_id=user_id,
            record=self.records.user(user_id),
            states=self._states(subjects, deadline),
            events=sorted(numbered for subject in subjects for numbered in self._events(subject)),
            slates=[slate for subject in subjects for slate in self.served.of_subject(subject)],
            dead_letters=self.dead_letters.mentioning([user_id]),
            shortlists=self._shortlists(subjects, deadline),
        )

    def erase(self, user_id: str, deadline: Deadline) -> Erased:
        """Removes it everywhere, durably; erasing again removes what is left. Raises `StoreError`, having begun.

        The log goes late, since it tells which sessions were theirs. States go before and once more after it, for the
        sake of events that came meanwhile.
        """
        subjects = self._subjects(user_id)
        record = self.records.user(user_id) is not None
        self.records.delete_users([user_id])
        dead_letters = self.dead_letters.forget([user_id])
        slates = self.served.forget(subjects)
        states = self._erase_states(subjects, deadline)
        events = self.event_log.forget(subjects)
        self._erase_states(subjects, deadline)
        return Erased(record=record, events=events, states=states, slates=slates, dead_letters=dead_letters)

    def _subjects(self, user_id: str) -> list[str]:
        """The user, and the sessions that their events name."""
        user = f"u:{user_id}"
        sessions = (event.session_id for _, event in self.event_log.of_subject(user) if event.session_id)
        return [user, *(f"s:{session}" for session in dict.fromkeys(sessions))]

    def _events(self, subject: str) -> list[tuple[int, Event]]:
        return [each for each in self.event_log.of_subject(subject) if _subject(each[1]) == subject]

    def _states(
        self, subjects: Sequence[str], deadline: Deadline
    ) -> dict[str, tuple[UserState, dict[str, UserVectors]]]:
        names = self._encoders(deadline)
        found = {}
        for subject in subjects:
            keys = [state_key(subject), *(vectors_key(name, subject) for name in names)]
            raw, *vectors = self.store.get_many(keys, deadline)
            state = UserState.unpack(raw)
            held = {name: UserVectors.unpack(each) for name, each in zip(names, vectors, strict=True)}
            if state.state_version > 0 or any(vectors):  # else absent, or the mark of one erased
                found[subject] = state, {name: each for name, each in held.items() if each}
        return found

    def _shortlists(self, subjects: Sequence[str], deadline: Deadline) -> dict[str, Shortlist]:
        found = self.store.get_many([shortlist_key(subject) for subject in subjects], deadline)
        held = {subject: Shortlist.unpack(raw) for subject, raw in zip(subjects, found, strict=True)}
        return {subject: shortlist for subject, shortlist in held.items() if shortlist is not None}

    def _encoders(self, deadline: Deadline) -> list[str]:
        return list(dict.fromkeys([*known_encoders(self.store, deadline), *self.encoders_in_force()]))

    def _erase_states(self, subjects: Sequence[str], deadline: Deadline) -> int:
        names = self._encoders(deadline)
        states = 0
        generation = stored_generation(SESSION, self.store, deadline)
        mark = UserState(applied_sequence=self.event_log.last(), generation=generation).pack()
        for subject in subjects:
            vectors = [vectors_key(name, subject) for name in names]
            before = self.store.get_many([state_key(subject)], deadline)[0]
            states += UserState.unpack(before).state_version > 0
            self.store.put_many([(state_key(subject), mark)], deadline, ttl_ms=_MARK_MS)
            self.store.delete_many([*vectors, shortlist_key(subject)], deadline)
        self.moved(subjects)
        return states


def _subject(event: Event) -> str | None:
    return subject_of(event.user_id, event.session_id)


def _state(
    subject: str, state: UserState, vectors: dict[str, UserVectors], name_of: Callable[[int], str | None]
) -> dict[str, Any]:
    return {
        "subject": subject,
        "state_version": state.state_version,
        "n_interactions": state.n_interactions,
        "last_ms": state.last_ms,
        "recent_items": [name_of(key) for key in state.recent_keys.tolist()],
        "seen_items": [name_of(key) for key in state.seen.tolist()],
        "vectors": {
            name: {field: getattr(each, field).tolist() for field in ("session_vector", "user_vector", "hidden")}
            for name, each in vectors.items()
        },
    }


def _shortlist(subject: str, shortlist: Shortlist) -> dict[str, Any]:
    """Rows mean nothing outside their release, so it is told what there is and not which items."""
    names = ("release", "made_ms", "origin", "region", "genres")
    return {"subject": subject, "items": len(shortlist.rows)} | {name: getattr(shortlist, name) for name in names}


def _slate(joined: JoinedSlate) -> dict[str, Any]:
    slate = joined.slate
    named = {name: value for name, value in _named(slate).items() if name not in ("user", "cross")}
    return {
        **named,
        "user_features": slate.user_features().tolist(),
        "outcomes": [_named(outcome) for outcome in joined.outcomes],
    }


def _named(record: msgspec.Struct) -> dict[str, Any]:
    """Fields by name, of a record that is stored as an array."""
    return {name: msgspec.to_builtins(getattr(record, name)) for name in record.__struct_fields__}
