"""Log lines say which request they belong to, for people and for machines."""

import json
import logging
import sys

from upnext.metrics.logs import JsonLines, TextLines, current_request


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("upnext.serve", logging.WARNING, __file__, 1, message, args, None)
    made.created = 1_760_000_000.25
    made.__dict__.update(extra)
    return made


def test_a_json_line_has_time_level_message_request_and_fields() -> None:
    token = current_request.set("4bea-1")
    try:
        line = json.loads(JsonLines().format(record("%d slates", 3, fields={"tier": "full", "total_ms": 4.25})))
    finally:
        current_request.reset(token)
    assert line == {
        "time": "2025-10-09T08:53:20.250+00:00", "level": "warning", "logger": "upnext.serve", "message": "3 slates",
        "request_id": "4bea-1", "tier": "full", "total_ms": 4.25,
    }  # fmt: skip


def test_outside_of_requests_there_is_no_id_and_an_exception_stays_on_one_line() -> None:
    try:
        raise ValueError("no\nvectors")
    except ValueError:
        raw = JsonLines().format(record("failed", exc_info=sys.exc_info()))
    line = json.loads(raw)
    assert "\n" not in raw
    assert "request_id" not in line
    assert line["exception"].endswith("ValueError: no\nvectors")


def test_a_line_for_people_ends_with_the_request() -> None:
    token = current_request.set("4bea-2")
    try:
        text = TextLines().format(record("slow", fields={"total_ms": 81.0}))
    finally:
        current_request.reset(token)
    assert text.endswith("WARNING upnext.serve: slow total_ms=81.0 [4bea-2]")
