"""From what happened to requests under a fault to the figures and the verdict; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from tests.faults.pressure_load import EventFigures, SlateLoad
from upnext.bench.samples import Outcome

_FAILURE = {
    Outcome.UNSENT: "never sent",
    Outcome.PENDING: "no answer",
    Outcome.TIMED_OUT: "timed out",
    Outcome.CLOSED: "connection reset",
    Outcome.MALFORMED: "not HTTP",
}
_KILL_MS = 500.0  # for so long after a kill a reset of the killed worker's connection is the kill's doing
_FRESH_MS = 100.0  # … and that of a connection nobody had answered on, of which the worker is not known
_ENOUGH = 0.99  # of answers are full: as before


class _Degraded(msgspec.Struct):
    stage: str
    why: str


class _Reply(msgspec.Struct):
    tier: str
    items: list[msgspec.Raw]
    degraded: list[_Degraded]
    timing_ms: dict[str, float]


@dataclass(frozen=True)
class Moments:
    """Of a trial, in seconds: when the fault began and ended, when it was over; and who was killed when."""

    begin_s: float
    end_s: float
    over_s: float
    kills: Sequence[tuple[float, int]] = ()  # second, process id


@dataclass
class SlateFigures:
    """Slates that were due in one phase."""

    answered: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    own_resets: int = 0  # requests on a connection of a worker that was just killed
    client_ms: list[float] = field(default_factory=list)  # of answers, from when they were due
    server_ms: list[float] = field(default_factory=list)  # of answers, as the server says
    tiers: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # "stage: why"


@dataclass(frozen=True)
class Limits:
    """What must hold."""

    most_ms: float = 200.0
    breakers: Sequence[str] = ()  # that must have opened, and closed again
    may_refuse_events: bool = False  # with 503 and Retry-After
    needs_recovery: bool = True


@dataclass
class Result:
    """All about one fault."""

    name: str
    moments: Moments
    limits: Limits
    phases: dict[str, SlateFigures]  # calm, fault, after
    recovered_s: float | None  # after the fault's end: from then on enough answers were full
    late_ms: float  # the worst delay of the load itself
    breakers: dict[tuple[str, str], int]  # (breaker, state) -> transitions during the trial
    events: dict[str, Counter[str]]  # per phase, by answer
    event_p99_ms: dict[str, float]
    log_lines: int = 0  # that the server wrote during the trial
    notes: list[str] = field(default_factory=list)

    def broken(self) -> list[str]:
        """What should hold and does not."""
        found = list(self.notes)
        for name, phase in self.phases.items():
            if phase.errors:
                found.append(f"{name}: {phase.errors.total()} slates failed: {dict(phase.errors)}")
            if phase.client_ms and max(phase.client_ms) >= self.limits.most_ms:
                over = sum(ms >= self.limits.most_ms for ms in phase.client_ms)
                found.append(f"{name}: {over} answers took {self.limits.most_ms:g} ms or more")
            refused = {"503, told to wait"} if self.limits.may_refuse_events else set()
            wrong = {kind: n for kind, n in self.events[name].items() if kind not in {"200", *refused}}
            if wrong:
                found.append(f"{name}: events were answered by {wrong}")
        for breaker in self.limits.breakers:
            opened, closed = (self.breakers.get((breaker, state), 0) for state in ("open", "closed"))
            if not opened or not closed:
                found.append(f"the breaker around {breaker} opened {opened} times and closed {closed} times")
        if self.limits.needs_recovery and self.recovered_s is None:
            found.append("fewer than 99 % of answers are full at the end")
        return found


def slates_of(load: SlateLoad, moments: Moments) -> dict[str, SlateFigures]:
    """The figures of each phase."""
    samples = load.samples
    assert load.load is not None
    workers, bodies = load.load.workers, dict(samples.bodies)
    decoder = msgspec.json.Decoder(_Reply)
    phases = {"calm": SlateFigures(), "fault": SlateFigures(), "after": SlateFigures()}
    for index, intended_ms in enumerate(samples.intended_ms):
        phase = phases[phase_of(intended_ms / 1e3, moments)]
        outcome, done_ms = Outcome(samples.outcome[index]), samples.done_ms[index]
        if outcome is Outcome.REPLIED and samples.status[index] == 200:
            reply = decoder.decode(bodies[index])
            phase.answered += 1
            phase.client_ms.append(done_ms - intended_ms)
            phase.server_ms.append(reply.timing_ms["total"])
            phase.tiers[reply.tier] += 1
            phase.reasons.update(f"{each.stage}: {each.why}" for each in reply.degraded)
            if len(reply.items) != 20:
                phase.errors[f"slate of {len(reply.items)}"] += 1
        elif outcome is Outcome.CLOSED and _killed(moments, workers[index], done_ms):
            phase.own_resets += 1
        else:
            failure = _FAILURE.get(outcome) or f"status {samples.status[index]}"
            phase.errors[failure] += 1
    return phases


def _killed(moments: Moments, worker: int, done_ms: float) -> bool:
    """Whether the connection, which broke at `done_ms`, was that of a worker that had just been killed."""
    return any(
        -_FRESH_MS <= done_ms - at_s * 1e3 <= (_KILL_MS if worker else _FRESH_MS) and worker in (0, killed)
        for at_s, killed in moments.kills
    )


def phase_of(due_s: float, moments: Moments) -> str:
    if due_s < moments.begin_s:
        return "calm"
    return "fault" if due_s < moments.end_s else "after"


def full_shares(load: SlateLoad, from_s: float, to_s: float) -> npt.NDArray[np.float64]:
    """Share of full answers among the requests due in each second between, (n_seconds,)."""
    decoder, bodies = msgspec.json.Decoder(_Reply), load.samples.bodies
    seconds = max(int(to_s - from_s), 0)
    full, due = np.zeros(seconds), np.zeros(seconds)
    for intended_ms in load.samples.intended_ms:
        if 0 <= (at := int(intended_ms / 1e3 - from_s)) < seconds and intended_ms / 1e3 >= from_s:
            due[at] += 1
    for index, body in bodies:
        due_s = load.samples.intended_ms[index] / 1e3
        if due_s >= from_s and (at := int(due_s - from_s)) < seconds and load.samples.status[index] == 200:
            full[at] += decoder.decode(body).tier == "full"
    return full / np.maximum(due, 1)


def recovered_s(shares: npt.NDArray[np.float64]) -> float | None:
    """Seconds until a second begins from which on enough answers are full, that one included; None: not by the end."""
    for at in range(len(shares)):
        if shares[at] >= _ENOUGH and shares[at:].mean() >= _ENOUGH:
            return float(at)
    return None


def events_of(figures: EventFigures, moments: Moments) -> tuple[dict[str, Counter[str]], dict[str, float]]:
    """By phase: how many events got which answer, and the p99 of how long it took (ms)."""
    kinds: dict[str, Counter[str]] = {name: Counter() for name in ("calm", "fault", "after")}
    took: dict[str, list[float]] = {name: [] for name in kinds}
    rows = zip(figures.due_s, figures.took_ms, figures.status, figures.retry_after, strict=True)
    for due_s, took_ms, status, told_to_wait in rows:
        kind = "no answer" if not status else "503, told to wait" if status == 503 and told_to_wait else str(status)
        phase = phase_of(due_s, moments)
        kinds[phase][kind] += 1
        took[phase].append(took_ms)
    return kinds, {name: float(np.percentile(values, 99)) if values else 0.0 for name, values in took.items()}


def transitions(before: str, after: str) -> dict[tuple[str, str], int]:
    """Transitions of breakers between two texts of `/metrics`, by breaker and new state."""
    earlier, later = _transitions(before), _transitions(after)
    return {key: count - earlier.get(key, 0) for key, count in later.items() if count > earlier.get(key, 0)}


def _transitions(text: str) -> Mapping[tuple[str, str], int]:
    found = {}
    for line in text.splitlines():
        if line.startswith("upnext_breaker_transitions_total{"):
            labels, value = line.split("{")[1].split("} ")
            named = dict(part.replace('"', "").split("=") for part in labels.split(","))
            found[named["breaker"], named["state"]] = int(float(value))
    return found
