"""What operators are told of one worker, as gauges; measured now and then, never in a request."""

from typing import TYPE_CHECKING

from upnext.metrics.recorder import Metrics

if TYPE_CHECKING:
    from upnext.serve.engine import Engine


def set_gauges(engine: "Engine", metrics: Metrics, lag_events: int) -> None:
    """Sets every gauge of the engine's tenant. Raises `StoreError` where something cannot be read."""

    def gauge(name: str, value: float) -> None:
        metrics.set_gauge(name, value, engine.tenant)

    last, totals = engine.event_log.last(), engine.dead_letters.totals()
    gauge("workers", 1)
    gauge("log_events", last)
    gauge("session_lag_events", lag_events)
    gauge("impressions_lag_events", max(last - engine.joiner.offset(), 0))
    gauge("write_queue_events", engine.writer.waiting)
    gauge("slates_kept", engine.served_writer.written)
    gauge("slates_dropped", engine.served_writer.dropped + engine.served.made_way)
    gauge("dead_letters", totals.waiting)
    gauge("dead_letters_bytes", totals.waiting_bytes)
    gauge("dead_letters_dropped", totals.dropped_by_age + totals.dropped_by_size)
    gauge("admission_limit", engine.steering.admission.limit)
    gauge("quality_factor", engine.steering.quality.of(f"{engine.tenant}/"))
    for name, breaker in engine.breakers.items():
        metrics.set_gauge("breakers_open", float(breaker.state != "closed"), engine.tenant, name)
    gauge("threads_lost", engine.compute.lost)
    shortlists, occasions = engine.ahead.shortlists, engine.ahead.occasions
    gauge("shortlists_at_hand", len(shortlists.l1))
    gauge("shortlists_bytes", shortlists.l1.size_bytes)
    gauge("shortlists_dropped", shortlists.dropped)
    gauge("shortlists_trusted", float(engine.ahead.feed.trusted))
    gauge("occasions_made", occasions.made)
    gauge("occasions_dropped", occasions.dropped)
    if in_force := engine.in_force:
        live = in_force.live
        gauge("crowd_lag_events", max(last - in_force.follower.sequence, 0))
        gauge("release_items", live.funnel.catalog.n_released)
        gauge("release_created_timestamp_seconds", live.created_ms / 1_000)
        gauge("fresh_items", live.funnel.catalog.n_fresh)
        gauge("fresh_items_waiting", live.fresh.waiting)
