"""Requests as OpenTelemetry spans, a child for each stage, in the trace of whoever asked; knows no funnel.

Spans are made when a request is answered, from the times that it has anyway, so that a request which is not sampled
pays for one look at its headers. The library is in the extra `otel`; its exporter is told where to send by the
environment, as in OTEL_EXPORTER_OTLP_ENDPOINT.
"""

import random
from collections.abc import Iterable, Mapping
from typing import Any

from upnext import __version__
from upnext.clock import Clock
from upnext.errors import SettingsError

Headers = Iterable[tuple[bytes, bytes]]
_SAMPLED = 1
_NS_PER_MS = 1_000_000


class Tracing:
    """Makes and sends spans. One for a process, used by one thread; sending happens in a thread of the library's."""

    def __init__(self, share: float, clock: Clock, processor: Any = None) -> None:
        """`share` of the requests that come without a trace of their own begin one.

        `processor`: what spans are given to; None: a batch at a time to the collector. Raises `SettingsError` where
        the library is missing.
        """
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError as error:
            raise SettingsError(
                f"observe.traces needs OpenTelemetry, which is not installed ({error}); "
                "run `pip install 'upnext[otel]'`, or switch it off"
            ) from error
        self._share = share
        self._clock = clock
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "upnext", "service.version": __version__})
        )
        self._provider.add_span_processor(processor or _to_collector())
        self._tracer = self._provider.get_tracer("upnext")

    def trace(self, name: str, headers: Headers, timing_ms: Mapping[str, float], about: Mapping[str, Any]) -> None:
        """A span that has just ended, as long as `timing_ms["total"]`, with a child for each stage, one after another.

        Where `headers` carry a W3C `traceparent`, it says whether the request is sampled, and the span is its child.
        """
        parent = next((value for key, value in headers if key == b"traceparent"), None)
        if parent is None and random.random() >= self._share:
            return
        context = None if parent is None else _context_of(parent.decode("latin-1"))
        if parent is not None and context is None:
            return
        from opentelemetry.trace import SpanKind, set_span_in_context

        end_ns = self._clock.now_ms() * _NS_PER_MS
        begin_ns = end_ns - int(timing_ms["total"] * _NS_PER_MS)
        attributes = {f"upnext.{key}": value for key, value in about.items()}
        span = self._tracer.start_span(name, context, SpanKind.SERVER, attributes=attributes, start_time=begin_ns)
        inside, at_ns = set_span_in_context(span), begin_ns
        for stage, ms in timing_ms.items():
            if stage != "total":
                child = self._tracer.start_span(stage, inside, start_time=at_ns)
                at_ns += int(ms * _NS_PER_MS)
                child.end(at_ns)
        span.end(end_ns)

    def close(self) -> None:
        """Sends what waits."""
        self._provider.shutdown()


def _to_collector() -> Any:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise SettingsError(
            f"observe.traces needs OpenTelemetry's OTLP exporter ({error}); run `pip install 'upnext[otel]'`"
        ) from error
    return BatchSpanProcessor(OTLPSpanExporter())


def _context_of(traceparent: str) -> Any:
    """The context that a W3C header names; None where it is not sampled, or not such a header."""
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    asked = get_current_span(context).get_span_context()
    return context if asked.is_valid and asked.trace_flags & _SAMPLED else None
