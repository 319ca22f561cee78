"""Which column of a foreign table holds which field: given, recognised by usual names, or a constant; reads no rows."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from upnext.errors import DataError

_ITEM_NAMES = ("itemid", "item", "productid", "product", "movieid", "articleid", "sku", "contentid")
# Field -> names its column usually has, in lower case without blanks, dashes and underscores.
EVENT_FIELDS: dict[str, tuple[str, ...]] = {
    "event_id": ("eventid",),
    "user_id": ("userid", "user", "customerid", "customer", "visitorid", "uid", "accountid"),
    "session_id": ("sessionid", "session", "usersession", "visitid"),
    "item_id": _ITEM_NAMES,
    "action": ("action", "event", "eventtype", "eventname", "behavior", "behaviortype", "actiontype"),
    "timestamp_ms": ("timestampms", "timestamp", "time", "ts", "eventtime", "datetime", "date", "createdat"),
    "request_id": ("requestid",),
    "value": ("value", "rating", "price", "amount"),
    "query": ("query", "searchquery"),
    "context": ("context",),
    "tenant": ("tenant",),
    "consent": ("consent",),
    "producer": ("producer",),
}
ITEM_FIELDS: dict[str, tuple[str, ...]] = {
    "item_id": (*_ITEM_NAMES, "id"),
    "title": ("title", "name", "productname"),
    "genres": ("genres", "genre", "category", "categories", "categorycode", "topic"),
    "text": ("text", "description", "summary", "tags"),
    "published_ms": ("publishedms", "published", "publishedat", "releasedate", "createdat", "date"),
    "price": ("price",),
    "regions": ("regions",),
    "available": ("available", "instock"),
    "promoted": ("promoted",),
    "attributes": ("attributes",),
    "tenant": ("tenant",),
}
# `context.device=platform` puts a column under a name of its own inside the map.
INNER = re.compile(r"^(context|attributes)\.(.+)$")


class Column(NamedTuple):
    """Where a field comes from: the column of that name or, when `constant`, the text itself for every row."""

    name: str
    constant: bool = False


def resolve(
    given: Mapping[str, str], columns: Iterable[str], fields: Mapping[str, tuple[str, ...]]
) -> dict[str, Column]:
    """For each field found, its column.

    `given` maps fields (`user_id`, or short `user`) to columns, or with `=purchase` to a constant; fields not given
    are looked for by their usual names, each column used once. Raises `DataError` for an unknown field or column.
    """
    have = list(columns)
    found: dict[str, Column] = {}
    for field, source in given.items():
        name = _field_name(field, fields)
        constant = source.startswith("=")
        if not constant and source not in have:
            raise DataError(f"there is no column {source!r}{_hint(source, have)}; columns are {', '.join(have)}")
        found[name] = Column(source.removeprefix("=") if constant else source, constant)
    taken = {column.name for column in found.values() if not column.constant}
    for field, names in fields.items():
        if field in found:
            continue
        match = next((column for name in names for column in have if _plain(column) == name), None)
        if match is not None and match not in taken:
            found[field] = Column(match)
            taken.add(match)
    return found


def parse_assignments(assignments: Iterable[str], option: str) -> dict[str, str]:
    """`["user=customer_id", "action==purchase"]` as a mapping; raises `DataError` for one that is not `a=b`."""
    given: dict[str, str] = {}
    for assignment in assignments:
        field, _, column = assignment.partition("=")
        if not (field and column):
            example = f"{option} user=customer_id, or {option} action==purchase for a constant"
            raise DataError(f"{option} {assignment!r} is not FIELD=COLUMN; write {example}")
        given[field] = column
    return given


def _field_name(field: str, fields: Mapping[str, tuple[str, ...]]) -> str:
    inner = INNER.match(field)
    for name in (field, f"{field}_id", f"{field}_ms"):
        if name in fields or (inner and inner.group(1) in fields):
            return name
    raise DataError(f"there is no field {field!r}{_hint(field, list(fields))}; fields are {', '.join(fields)}")


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]", "", name).lower()


def _hint(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
