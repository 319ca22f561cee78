"""Sends mangled JSON and Avro through the gate and says what became of it: python tests/fuzz/fuzz_gate.py.

Every input begins as a valid body; its structure is broken first (types, hostile values, nesting, duplicated keys), and
then, often, its bytes (flips, cuts, splices, hostile numbers). One seed gives one sequence of inputs.
"""

import argparse
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from upnext.contracts.avro_body import encode_single_object
from upnext.contracts.event import check_event
from upnext.contracts.families import FAMILY_OF_ACTION, REGISTRY
from upnext.contracts.gate import Admitted, admit_events, admit_items, admit_users
from upnext.contracts.item import check_item
from upnext.contracts.user import check_user
from upnext.domain.event import ACTIONS, Event, Item, User

NOW_MS = 1_760_000_000_000
REASONS = {
    "malformed_json", "malformed_avro", "unsupported_encoding", "confluent_framing", "unknown_schema", "wrong_schema",
    "wrong_type", "repeated_list", "too_deep", "context_too_large", "missing_action", "unknown_action",
    "missing_subject", "missing_item", "missing_user", "empty_id", "id_too_long", "text_too_long", "too_many_entries",
    "value_not_finite", "price_out_of_range", "timestamp_too_old", "timestamp_in_seconds",
    "timestamp_in_microseconds", "timestamp_in_nanoseconds", "timestamp_in_future", "bad_tenant", "wrong_tenant",
}  # fmt: skip
CONTENT_TYPES = (
    "application/json", "application/json; charset=utf-8", "", "text/plain", "application/x-www-form-urlencoded",
    "avro/binary", "application/avro", "application/octet-stream", "application/x-protobuf", "\x00\xff;;=",
)  # fmt: skip
TEXTS = (
    "", "i1", "é" * 129, "x" * 257, "\ud800", "\udfff\ud800", "\x00", "𝔘", "null", '"', "\\", "]" * 40, "{" * 40,
    "events", "items", "consent", "..", "a/b", "default", "shop", "x" * 1_100, "\u202e", "١٢٣", " ", "\r\n",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, NOW_MS, NOW_MS // 1000, NOW_MS * 1000, NOW_MS * 10**6, NOW_MS + 300_001, 2**31, -(2**63), 2**63, 2**64,
    10**400, 1e308, -1e308, 5e-324, -0.0, 0.1, float("nan"), float("inf"), float("-inf"), True, False, None,
)  # fmt: skip
TOKENS = (
    b"NaN", b"1e999", b"-", b"[" * 40, b"{" * 40, b"]", b"}", b'"', b"\\u", b"\\ud800", b",", b":", b"null", b"\xff",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"consent":false,', b'"events":[', b"\x00", b"\xc3\x01", b"/**/", b"1" * 400,
    b'"a":' + b"[" * 2_000, b"\x01", b"\x02", b"\xff" * 9 + b"\x01", b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x80" * 11, b"\xfe\xff\xff\xff\x0f", b"Obj\x01", b"\x00\x00\x00\x00\x07",
)  # fmt: skip
KINDS = ("event", "event", "event", "event", "item", "user")
LISTS = {"event": "events", "item": "items", "user": "users"}

Check = Callable[[Any], None]
DOORS: dict[str, tuple[Callable[[bytes, str], Admitted[Any]], Check, type]] = {
    "event": (
        lambda body, kind: admit_events(body, kind, now_ms=NOW_MS, event_id=lambda: "made"),
        lambda event: check_event(event, now_ms=NOW_MS),
        Event,
    ),
    "item": (admit_items, check_item, Item),
    "user": (admit_users, check_user, User),
}


def plain(draw: random.Random, kind: str) -> dict[str, Any]:
    """A valid record, as a producer means it."""
    free = {"device": "tv", "position": draw.randrange(9), "share": 0.5, "tags": ["a", 1, None], "new": True}
    if kind == "item":
        return {"item_id": "i1", "title": "Tea", "genres": ["hot", "dry"], "published_ms": NOW_MS, "attributes": free}
    if kind == "user":
        return {"user_id": "u1", "attributes": free, "producer": "crm"}
    record = {"event_id": "e1", "action": draw.choice(ACTIONS), "user_id": "u1", "item_id": "i1", "context": free}
    record |= {"timestamp_ms": NOW_MS - draw.randrange(10**9), "value": 2.5, "producer": "web"}
    if draw.random() < 0.1:
        record["consent"] = False
    return record


def hostile(draw: random.Random, depth: int = 0) -> Any:
    """Any value of JSON, mostly one that has hurt somebody."""
    choice = draw.random()
    if choice < 0.4:
        return draw.choice(TEXTS)
    if choice < 0.8 or depth > 2:
        return draw.choice(NUMBERS)
    if choice < 0.87:
        return [hostile(draw, depth + 1) for _ in range(draw.choice((0, 1, 3, 65)))]
    if choice < 0.95:
        return {draw.choice(TEXTS) + str(key): hostile(draw, depth + 1) for key in range(draw.choice((0, 1, 3, 65)))}
    nested: Any = 1
    for _ in range(draw.choice((2, 20, 31, 33, 60, 300))):
        nested = [nested] if draw.random() < 0.5 else {"a": nested}
    return nested


def break_fields(draw: random.Random, record: dict[str, Any], fields: tuple[str, ...]) -> None:
    for _ in range(draw.choice((0, 0, 1, 1, 2, 4))):
        name = draw.choice(fields) if draw.random() < 0.9 else draw.choice(TEXTS)
        choice = draw.random()
        if choice < 0.2:
            record.pop(name, None)
        elif choice < 0.35 and isinstance(record.get("context"), dict):
            record["context"][draw.choice(TEXTS)] = hostile(draw, 1)
        else:
            record[name] = hostile(draw)


def json_body(draw: random.Random, kind: str, fields: tuple[str, ...]) -> bytes:
    records = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        record = plain(draw, kind)
        break_fields(draw, record, fields)
        text = json.dumps(record, ensure_ascii=draw.random() < 0.5)
        if draw.random() < 0.05:  # a key twice
            text = text[:-1] + f', "{draw.choice(fields)}": {json.dumps(hostile(draw))}' + "}"
        records.append(text)
    listed = "[" + draw.choice((",", ", ", " ,\n")).join(records) + "]"
    member = f'"{LISTS[kind]}": {listed}'
    body = draw.choice((records[0], listed, f"{{{member}}}"))
    if draw.random() < 0.005:
        body = f"{{{member}, {member}}}"
    return body.encode("utf-8", "surrogatepass")


def avro_body(draw: random.Random, kind: str) -> bytes:
    messages = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        record = plain(draw, kind)
        schema = REGISTRY.latest(FAMILY_OF_ACTION[record["action"]] if kind == "event" else kind)
        for name in ("event_id", "item_id", "user_id", "tenant", "action"):
            if draw.random() < 0.9 or name not in (*record, "tenant"):
                continue
            record[name] = draw.choice(TEXTS).encode("utf-8", "ignore").decode()
        if kind == "event" and draw.random() < 0.2:
            record["timestamp_ms"] = draw.choice([each for each in NUMBERS[:10] if each is not None])
            record["context"]["odd"] = draw.choice((float("nan"), float("inf"), -(2**63), "y" * 20_000, [1.5] * 70))
        if draw.random() < 0.05:
            record["schema_version"] = draw.choice((0, 2, -1))
        messages.append(encode_single_object(record, schema))
    return b"".join(messages)


def break_bytes(draw: random.Random, body: bytes, other: bytes) -> bytes:
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        at = draw.randrange(len(body) + 1)
        choice = draw.randrange(7)
        if choice == 0 and at < len(body):
            body = body[:at] + bytes([body[at] ^ 1 << draw.randrange(8)]) + body[at + 1 :]
        elif choice == 1:
            body = body[:at]
        elif choice == 2:
            body = body[:at] + other[draw.randrange(len(other) + 1) :]
        elif choice == 3:
            body = body[:at] + draw.choice(TOKENS) + body[at:]
        elif choice == 4:
            body = body[:at] + draw.choice(TOKENS) + body[at + draw.randrange(12) :]
        elif choice == 5:
            body = body[:at] + body[at + draw.randrange(20) :]
        else:
            body = body[at:]
    return body


def inputs(count: int, seed: int) -> Any:
    """`count` triples of kind of record, content type and body."""
    draw = random.Random(seed)
    fields = {kind: DOORS[kind][2].__struct_fields__ for kind in DOORS}  # type: ignore[attr-defined]
    other = b"{}"
    for _ in range(count):
        kind = draw.choice(KINDS)
        avro = draw.random() < 0.4
        body = avro_body(draw, kind) if avro else json_body(draw, kind, fields[kind])
        whole, body = body, break_bytes(draw, body, other) if draw.random() < 0.6 else body
        other = whole
        usual = "avro/binary" if avro else "application/json"
        yield kind, usual if draw.random() < 0.8 else draw.choice(CONTENT_TYPES), body


def try_one(kind: str, content_type: str, body: bytes, counts: Counter[str]) -> None:
    """Sends one body through its door and checks all that is promised; raises `AssertionError`."""
    admit, check, record_type = DOORS[kind]
    admitted = admit(body, content_type)
    for record in admitted.records:
        assert type(record) is record_type
        check(record)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=record_type) == record
        assert kind != "event" or record.consent
        assert record.tenant == "default"
    for refused in admitted.refused:
        assert refused.error.reason in REASONS, refused.error.reason
        assert refused.error.path.startswith("$")
        assert refused.raw in body
        assert refused.raw or not body or b"consent" in body.lower() or content_type.startswith("avro") or avro(body)
        counts[refused.error.reason] += 1
    assert admitted.records or admitted.refused or admitted.withheld or holds_nothing(body)
    check_count(admitted, body)
    counts["accepted"] += len(admitted.records)
    counts["withheld"] += admitted.withheld


def avro(body: bytes) -> bool:
    return body.startswith(b"\xc3\x01")


def holds_nothing(body: bytes) -> bool:
    """An empty list, alone or under a name."""
    read = json.loads(body)
    return read == [] or (isinstance(read, dict) and any(read.get(name) == [] for name in LISTS.values()))


def check_count(admitted: Admitted[Any], body: bytes) -> None:
    """Of an array, each element is answered for, unless the whole was refused as it is."""
    if body[:1] != b"[" or (len(admitted.refused) == 1 and admitted.refused[0].raw == body):
        return
    if len(admitted.refused) == 1 and not admitted.refused[0].raw and not admitted.records:
        return  # the same, of bytes that are not kept
    count = len(msgspec.json.decode(body, type=list[msgspec.Raw]))
    assert len(admitted.records) + len(admitted.refused) + admitted.withheld == count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    started = time.monotonic()
    for kind, content_type, body in inputs(arguments.inputs, arguments.seed):
        try:
            try_one(kind, content_type, body, counts)
        except BaseException:
            print(f"failed on {kind} {content_type!r} {body!r}")
            raise
    seconds = time.monotonic() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for reason, count in counts.most_common():
        print(f"{count:>10,}  {reason}")
    print(f"{arguments.inputs:,} inputs, seed {arguments.seed}: {arguments.inputs / seconds:,.0f}/s in {seconds:.0f} s")
    print(f"peak resident memory {peak_mib:.0f} MiB; reasons never met: {sorted(REASONS - set(counts)) or 'none'}")


if __name__ == "__main__":
    main()
