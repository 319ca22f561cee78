"""How many events does the gate take per second on one core, bytes to `Event`, with nothing behind it?

In JSON and in Avro, in bodies of a hundred and of one, with and without a context, and with one event in ten refused.
Counts processor time of this process and keeps the median round, so neighbours disturb it little.

    python benchmarks/gate.py --json gate.json
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from upnext.bench.machine import this_machine
from upnext.contracts.avro_body import encode_single_object
from upnext.contracts.families import REGISTRY
from upnext.contracts.gate import admit_events

NOW_MS = 1_760_000_000_000
CONTEXT = {"device": "tv", "surface": "home", "position": 3}
TYPE = {"json": "application/json", "avro": "avro/binary"}


def made_up_events(count: int, context: bool, refused: bool) -> list[dict[str, Any]]:
    """Clicks of ids as long as UUIDs; one in ten without an item's name where some are to be refused."""
    return [
        {
            "event_id": f"{number:032x}",
            "action": "click",
            "user_id": f"u{number % 1_000}",
            "session_id": f"s{number}",
            "item_id": "" if refused and number % 10 == 0 else f"i{number % 5_000}",
            "timestamp_ms": NOW_MS - number,
            **({"context": CONTEXT} if context else {}),
        }
        for number in range(count)
    ]


def encoded(events: list[dict[str, Any]], encoding: str) -> bytes:
    if encoding == "avro":
        return b"".join(encode_single_object(event, REGISTRY.latest("interaction")) for event in events)
    return json.dumps(events if len(events) > 1 else events[0]).encode()


def events_per_s(body: bytes, content_type: str, events: int, rounds: int) -> float:
    """The median over rounds of about a fifth of a second."""

    def seconds(calls: int) -> float:
        started = time.process_time()
        for _ in range(calls):
            admit_events(body, content_type, now_ms=NOW_MS)
        return time.process_time() - started

    calls = max(1, round(0.2 / (seconds(50) / 50)))
    return statistics.median(calls * events / seconds(calls) for _ in range(rounds))


def figures(rounds: int) -> list[dict[str, Any]]:
    rows = []
    for encoding in ("json", "avro"):
        for batch, context, refused in ((100, False, False), (100, True, False), (1, True, False), (100, True, True)):
            body = encoded(made_up_events(batch, context, refused), encoding)
            per_s = events_per_s(body, TYPE[encoding], batch, rounds)
            rows.append(
                {
                    "encoding": encoding,
                    "batch": batch,
                    "context": context,
                    "one_in_ten_refused": refused,
                    "bytes_per_event": len(body) / batch,
                    "events_per_s": round(per_s),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = {"machine": msgspec.to_builtins(this_machine()), "gate": figures(arguments.rounds)}
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
