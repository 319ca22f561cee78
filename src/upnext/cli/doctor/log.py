"""Whether what follows the log keeps up, and what the gate refused is looked at; judges facts read elsewhere."""

import msgspec

from upnext.cli.doctor.check import Check, ok, problem, warning

_GROUP = "log"
_BEHIND_SHARE = 0.1  # of ingest.lag_events


class LogFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a home's log and its followers showed."""

    error: str = ""  # why the log cannot be read; then the rest says nothing
    n_events: int = 0
    last: int = 0  # highest place in the log
    applied: int | None = None  # up to where users' states have it; None where nobody has followed it yet
    lag_error: str = ""  # why that cannot be said
    unreadable: str = ""  # what is wrong with states of the newest users, which a server makes anew or cannot read
    newest_event_ms: int | None = None
    growth_bytes_per_day: float = 0.0
    waiting_letters: int = 0
    by_reason: dict[str, int] = {}


def check_log(facts: LogFacts, most_behind: int, home: str) -> list[Check]:
    """`most_behind`: events by which states may be behind before producers get 503 (ingest.lag_events)."""
    if facts.error:
        advice = "let the user that runs the server own HOME/log, or restore it from a copy"
        return [problem(_GROUP, "readable", facts.error, advice)]
    if not facts.last:
        advice = f"import some (upnext import PATH --home {home}), or send them to POST /v1/events"
        return [warning(_GROUP, "events", "there is none", advice), _letters(facts, home)]
    return [ok(_GROUP, "events", f"{facts.n_events:,}"), _lag(facts, most_behind, home), _letters(facts, home)]


def _lag(facts: LogFacts, most_behind: int, home: str) -> Check:
    if facts.lag_error:
        return problem(
            _GROUP, "states", facts.lag_error, "mend the store first; then see whether it belongs to this log"
        )
    if facts.unreadable:
        return problem(
            _GROUP, "states", facts.unreadable, "delete HOME/state, or the keys in Redis, and start a server"
        )
    behind = facts.last - (facts.applied or 0)
    found = f"{behind:,} events behind the log" if facts.applied is not None else "not made yet: a server makes them"
    if behind > most_behind:
        advice = f"start a server, which catches up, or train (upnext train --home {home}); past it producers get 503"
        return problem(_GROUP, "states", f"{found}, ingest.lag_events {most_behind:,}", advice)
    if behind > most_behind * _BEHIND_SHARE:
        advice = "where a server runs, see what keeps it: upnext slow, /metrics; else one that starts catches up"
        return warning(_GROUP, "states", found, advice)
    return ok(_GROUP, "states", found)


def _letters(facts: LogFacts, home: str) -> Check:
    if facts.waiting_letters:
        reasons = sorted(facts.by_reason.items(), key=lambda each: -each[1])[:3]
        found = f"{facts.waiting_letters:,} wait: " + ", ".join(f"{reason} {count:,}" for reason, count in reasons)
        advice = f"upnext deadletters list --home {home} tells why; once mended: upnext deadletters replay"
        return warning(_GROUP, "dead letters", found, advice)
    return ok(_GROUP, "dead letters", "none waits")
