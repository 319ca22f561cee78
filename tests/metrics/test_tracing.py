"""Spans carry the times of the stages, in the trace of whoever asked, for those who are sampled."""

import sys

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from upnext.clock import ManualClock
from upnext.errors import SettingsError
from upnext.metrics.tracing import Tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TIMING = {"queue": 1.0, "retrieval": 4.0, "ranking": 3.0, "total": 10.0}


def traced(share: float, *headers: tuple[bytes, bytes]) -> list:
    exporter, clock = InMemorySpanExporter(), ManualClock(1_760_000_000_000)
    tracing = Tracing(share, clock, SimpleSpanProcessor(exporter))
    tracing.trace("recommend", headers, TIMING, {"tier": "full", "request_id": "r-1"})
    tracing.close()
    return list(exporter.get_finished_spans())


def test_a_request_is_a_span_with_a_child_for_each_stage_one_after_the_other() -> None:
    *stages, whole = traced(1.0)
    assert [(span.name, (span.end_time - span.start_time) / 1e6) for span in stages] == [
        ("queue", 1.0), ("retrieval", 4.0), ("ranking", 3.0),
    ]  # fmt: skip
    assert whole.name == "recommend"
    assert (whole.end_time, (whole.end_time - whole.start_time) / 1e6) == (1_760_000_000_000_000_000, 10.0)
    assert stages[0].start_time == whole.start_time
    assert [span.start_time for span in stages[1:]] == [span.end_time for span in stages[:-1]]
    assert {span.parent.span_id for span in stages} == {whole.context.span_id}
    assert dict(whole.attributes) == {"upnext.tier": "full", "upnext.request_id": "r-1"}
    assert whole.parent is None


def test_a_sampled_caller_gets_the_span_into_its_own_trace_whatever_the_share() -> None:
    *_, whole = traced(1e-9, (b"host", b"x"), (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()))
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == SPAN


@pytest.mark.parametrize("header", [f"00-{TRACE}-{SPAN}-00", "nonsense", f"00-{'0' * 32}-{SPAN}-01", "\xff"])
def test_a_caller_that_is_not_sampled_or_not_understood_gets_none(header: str) -> None:
    assert traced(1.0, (b"traceparent", header.encode("latin-1"))) == []


def test_a_share_of_the_others_begins_a_trace() -> None:
    assert traced(1e-9) == []


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"upnext\[otel\]"):
        Tracing(1.0, ManualClock())
