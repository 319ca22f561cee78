"""What refused bytes tell of themselves all the same: schema, producer, consent; best effort, and never raises."""

import re
from typing import Any, NamedTuple

import msgspec

from upnext.contracts.avro_body import MARKER, read_message
from upnext.contracts.families import FAMILY_OF_ACTION, ITEM, REGISTRY, USER
from upnext.errors import ContractError

# The field with anything but true, in JSON and in what was meant to be JSON.
_NO_CONSENT = re.compile(rb"""consent["'\\]{0,2}+\s*+[:=]\s*+(?!["'\\]{0,2}true\b)""", re.IGNORECASE)
_HEADER = re.compile(
    MARKER + b"(?:" + b"|".join(re.escape(each.fingerprint) for each in REGISTRY.schemas) + b")", re.DOTALL
)
_MAX_TRIES = 1_000
_MAX_PRODUCER_CHARS = 256


class Facts(NamedTuple):
    """`schema` is a name such as `interaction/1`, or empty; `consents` is false for what must not be kept."""

    schema: str = ""
    producer: str = ""
    consents: bool = True


class _Told(msgspec.Struct):
    """The fields looked at, whatever their types."""

    action: Any = None
    schema_version: Any = 1
    producer: Any = ""
    consent: Any = True


_TOLD = msgspec.json.Decoder(_Told)


def facts_of(raw: bytes, kind: str) -> Facts:
    """Of the bytes of a refused `event`, `item` or `user`."""
    if raw.startswith(MARKER):
        return _facts_of_avro(raw)
    try:
        told = _TOLD.decode(raw)
    except (ValueError, RecursionError):
        return Facts(consents=_NO_CONSENT.search(raw) is None)
    consents = told.consent is True and _NO_CONSENT.search(raw) is None
    return Facts(_schema_name(kind, told), _producer(told.producer), consents)


def _facts_of_avro(raw: bytes) -> Facts:
    schema = REGISTRY.by_fingerprint(raw[2:10])
    name = schema.name if schema else ""
    try:
        record = read_message(raw, 0, REGISTRY).record
    except ContractError:
        return Facts(name, consents=_later_messages_consent(raw))
    return Facts(name, _producer(record["producer"]), record.get("consent", True))


def _later_messages_consent(raw: bytes) -> bool:
    """Whether none of the messages that may follow an unreadable one says no; past a thousand of them, it is a no."""
    for tried, found in enumerate(_HEADER.finditer(raw, 2)):
        if tried == _MAX_TRIES:
            return False
        try:
            if not read_message(raw, found.start(), REGISTRY).record.get("consent", True):
                return False
        except ContractError:
            continue
    return True


def _schema_name(kind: str, told: _Told) -> str:
    family = kind if kind in (ITEM, USER) else _family(told.action)
    version = told.schema_version
    return f"{family}/{version}" if family and type(version) is int and version > 0 else ""


def _family(action: Any) -> str:
    return FAMILY_OF_ACTION.get(action, "") if isinstance(action, str) else ""


def _producer(value: Any) -> str:
    return value[:_MAX_PRODUCER_CHARS] if isinstance(value, str) else ""
