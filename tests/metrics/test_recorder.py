"""What is counted is said, in the units and names Prometheus expects."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from upnext.metrics.names import BUCKETS_MS, GAUGES
from upnext.metrics.recorder import MOST_SERIES, Metrics

Series = tuple[str, tuple[tuple[str, str], ...]]


def values_of(exposition: bytes) -> dict[Series, float]:
    """Every sample by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def test_a_stage_is_counted_in_seconds_in_the_bucket_of_its_time() -> None:
    metrics = Metrics()
    for spent_ms in (0.04, 2.5, 49.0, 700.0):
        metrics.observe_stage("ranking", spent_ms)
    values = values_of(metrics.exposition())
    name, stage = "upnext_stage_duration_seconds", ("stage", "ranking")
    assert values[(f"{name}_count", (stage,))] == 4
    assert values[(f"{name}_sum", (stage,))] == pytest.approx(0.75154)
    at_most = {
        float(dict(labels)["le"]): value for (sample, labels), value in values.items() if sample == f"{name}_bucket"
    }
    assert [at_most[bound] for bound in (0.00005, 0.002, 0.003, 0.04, 0.05, 0.5, float("inf"))] == [1, 1, 2, 2, 3, 3, 4]


def test_buckets_ascend_over_the_times_promised() -> None:
    assert list(BUCKETS_MS) == sorted(set(BUCKETS_MS))
    assert (BUCKETS_MS[0], BUCKETS_MS[-1]) == (0.05, 500.0)


def test_requests_degradations_rejections_and_events_are_counted_by_their_labels() -> None:
    metrics = Metrics()
    for tier in ("full", "full", "fast"):
        metrics.count_request(tier, "live")
    metrics.count_degraded("ranking", "breaker_open")
    metrics.count_rejected("timestamp_in_seconds")
    metrics.count_ingested(40, 2, 3)
    metrics.count_ingested(1)
    values = values_of(metrics.exposition())
    assert values[("upnext_requests_total", (("route", "live"), ("tier", "full")))] == 2
    assert values[("upnext_requests_total", (("route", "live"), ("tier", "fast")))] == 1
    assert values[("upnext_degraded_total", (("stage", "ranking"), ("why", "breaker_open")))] == 1
    assert values[("upnext_events_rejected_total", (("reason", "timestamp_in_seconds"),))] == 1
    assert values[("upnext_events_total", (("outcome", "accepted"),))] == 41


def test_gauges_hold_their_last_value_and_unknown_ones_are_refused() -> None:
    metrics = Metrics()
    metrics.set_gauge("workers", 7)
    metrics.set_gauge("workers", 3)
    metrics.set_gauge("release_items", 1e6)
    metrics.set_gauge("breakers_open", 1, "shop", "ranker")
    values = values_of(metrics.exposition())
    assert values[("upnext_workers", (("tenant", "default"),))] == 3
    assert values[("upnext_release_items", (("tenant", "default"),))] == 1e6
    assert values[("upnext_breakers_open", (("breaker", "ranker"), ("tenant", "shop")))] == 1
    with pytest.raises(KeyError):
        metrics.set_gauge("mood", 1.0)


def test_a_slate_is_counted_by_tier_route_region_and_how_much_its_user_has_chosen() -> None:
    metrics = Metrics()
    for n_interactions in (0, 1, 4, 5, 49, 50, 499, 500, 80_000):
        metrics.count_request("full", "live", {"total": 4.0}, region="north", n_interactions=n_interactions)
    metrics.count_request("fast", "shortlist", {"queue": 1.0, "total": 2.0})
    values = values_of(metrics.exposition())
    count = "upnext_{}_duration_seconds_count".format
    assert values[(count("request"), (("route", "live"), ("tier", "full")))] == 9
    assert values[(count("request"), (("route", "shortlist"), ("tier", "fast")))] == 1
    assert [values[(count("region"), (("region", each),))] for each in ("north", "")] == [9, 1]
    by_history = [
        values[(count("history"), (("interactions", each),))] for each in ("0", "1-4", "5-49", "50-499", "500+")
    ]
    assert by_history == [2, 2, 2, 2, 2]
    assert values[(count("stage"), (("stage", "queue"),))] == 1


def test_two_sets_of_counts_in_one_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.count_ingested(5)
    assert not any(name == "upnext_events_total" for name, _ in values_of(second.exposition()))


def test_labels_without_end_are_gathered_under_other() -> None:
    metrics = Metrics()
    for number in range(MOST_SERIES + 50):
        metrics.count_rejected(f"reason {number}")
        metrics.observe_stage(f"stage {number}", 1.0)
    values = values_of(metrics.exposition())
    assert values[("upnext_events_rejected_total", (("reason", "other"),))] == 50
    assert values[("upnext_stage_duration_seconds_count", (("stage", "other"),))] == 50
    assert sum(name == "upnext_events_rejected_total" for name, _ in values) == MOST_SERIES + 1


def test_no_count_is_lost_between_threads() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2_000):
            metrics.count_request("full", "live")
            metrics.observe_stage("total", 1.0)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(count)
    values = values_of(metrics.exposition())
    assert values[("upnext_requests_total", (("route", "live"), ("tier", "full")))] == 16_000
    assert values[("upnext_stage_duration_seconds_count", (("stage", "total"),))] == 16_000


def test_every_gauge_has_a_name_of_its_own_and_says_what_it_means() -> None:
    assert len({gauge.name for gauge in GAUGES}) == len(GAUGES)
    assert all(gauge.help.endswith(".") for gauge in GAUGES)
