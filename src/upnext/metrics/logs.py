"""How log lines look, and which request they belong to; knows no endpoint."""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

import msgspec

LogFormat = Literal["text", "json"]
current_request: ContextVar[str] = ContextVar("current_request", default="")
"""The request that this thread, or this task, is at; empty where it is at none."""

access_log = logging.getLogger("upnext.access")
"""A line for each request of the share that `observe.access_share` says, with its figures in `extra`."""
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id where there is one, `fields`, exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if known := current_request.get():
            line["request_id"] = known
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """For people: the request's id, where there is one, after the message."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        text, known = super().format(record), current_request.get()
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        first, newline, rest = text.partition("\n")
        return " ".join(filter(None, (first, fields, f"[{known}]" if known else ""))) + newline + rest


def set_up_logs(form: LogFormat, level: int = logging.WARNING) -> None:
    """All loggers of this process write that way to standard error; access lines whatever the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    access_log.setLevel(logging.INFO)
