"""The circuit breakers of one tenant in one worker, by what they guard; knows not who asks them."""

from upnext.clock import Clock
from upnext.funnel.breaker import CircuitBreaker, Listener
from upnext.settings import Settings

GUARDED = ("ranker", "retrieval", "store", "session_model")
_STEP_SLOW_MS = 20.0  # one step of the session encoder, for however many users, takes a tenth of a millisecond


def breakers_of(settings: Settings, clock: Clock, listener: Listener) -> dict[str, CircuitBreaker]:
    """One for each of `GUARDED`; `listener` hears of all."""
    # A read takes far less than the most it may: half of that is slow.
    slow_ms = {"store": settings.store.timeout_ms / 2, "session_model": _STEP_SLOW_MS}
    return {
        name: CircuitBreaker(
            name,
            settings.pressure,
            clock,
            listener,
            slow_ms=slow_ms.get(name),
            hung_ms=settings.budget.hard_stop_ms,
        )
        for name in GUARDED
    }
