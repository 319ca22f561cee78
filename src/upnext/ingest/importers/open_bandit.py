"""The Open Bandit Dataset (ZOZOTOWN, 2019) as impressions and clicks; knows nothing of other formats.

Source: Y. Saito, S. Aihara, M. Matsutani, Y. Narita, "Open Bandit Dataset and Pipeline", arXiv 2008.07146.
"""

import heapq
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath

import msgspec

from upnext.domain.event import Event, Item, User
from upnext.domain.identity import key_of
from upnext.errors import DataError
from upnext.ingest.importers.delimited import Delimited
from upnext.ingest.importers.files import FileSource
from upnext.ingest.importers.source import Record

COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score")
USER_FEATURES = ("user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3")
# A moment for ordering, the line it came from, and what that line gives.
_Timed = tuple[int, int, list[Record]]


class OpenBandit(FileSource):
    """One `impression` per row and, where it was clicked, a `click` that names it by `request_id`, in order of time.

    Several logs, one per policy and campaign, are merged by time stamp. Users are the combination of their four
    hashed features, the nearest thing to an identity the data set has. Items are named `campaign-number`; their
    hashed features agree only within a policy, so they are taken from the first policy in name order. The context
    holds `position` (1 left to 3 right), `propensity` (the probability of being shown), `policy` and `campaign`.
    """

    format = "open-bandit"

    def records(self) -> Iterator[Record]:
        names = [name for name in self._files.names if name.endswith(".csv")]
        logs = [name for name in names if not name.endswith("item_context.csv")]
        if not logs:
            raise DataError(f"{self._files.path} holds no log such as random/men/men.csv; check the path")
        yield from self._items([name for name in names if name.endswith("item_context.csv")])
        merged = heapq.merge(*(self._impressions(name) for name in logs), key=lambda timed: timed[0])
        users: set[str] = set()
        for _, self.line, records in merged:
            for record in records:
                if isinstance(record, User):
                    if record.user_id in users:
                        continue
                    users.add(record.user_id)
                yield record

    def _items(self, names: list[str]) -> Iterator[Record]:
        seen: set[str] = set()
        for name in names:
            table = Delimited(self._files, name)
            number = table.position("item_id")
            features = {column: at for at, column in enumerate(table.columns) if column.startswith("item_feature")}
            for row in table:
                self.line = table.line
                if not isinstance(row, list):
                    yield row
                    continue
                item_id = f"{PurePosixPath(name).parent.name}-{row[number]}"
                if item_id not in seen:
                    seen.add(item_id)
                    yield Item(item_id=item_id, attributes={column: row[at] for column, at in features.items()})

    def _impressions(self, name: str) -> Iterator[_Timed]:
        """The rows of one log with their moment in ms; a broken row has the moment of the one before it."""
        table = Delimited(self._files, name)
        moment, number, position, click, propensity = (table.position(column) for column in COLUMNS)
        users_at = [table.position(column) for column in USER_FEATURES]
        policy, campaign = PurePosixPath(name).parts[-3:-1]
        timestamp_ms = 0
        for row in table:
            if not isinstance(row, list):
                yield timestamp_ms, table.line, [row]
                continue
            try:
                timestamp_ms = round(datetime.fromisoformat(row[moment]).timestamp() * 1000)
                context = {"position": int(row[position]), "propensity": float(row[propensity])}
            except ValueError as error:
                yield timestamp_ms, table.line, [table.rejected("bad_number", f"has a bad field: {error}")]
                continue
            features = [row[at] for at in users_at]
            impression = Event(
                event_id=f"{self.format}:{policy}/{campaign}:{table.line}",
                action="impression",
                timestamp_ms=timestamp_ms,
                user_id=f"{key_of(' '.join(features)):016x}",
                item_id=f"{campaign}-{row[number]}",
                context={**context, "policy": policy, "campaign": campaign},
            )
            user = User(user_id=impression.user_id or "", attributes=dict(zip(USER_FEATURES, features, strict=True)))
            records: list[Record] = [user, impression]
            if row[click] not in ("0", "1"):
                records = [table.rejected("bad_number", f"has click {row[click]!r} instead of 0 or 1")]
            elif row[click] == "1":
                records.append(_click_on(impression))
            yield timestamp_ms, table.line, records


def _click_on(impression: Event) -> Event:
    """The click that answers an impression, joined to it by `request_id`."""
    return msgspec.structs.replace(
        impression, event_id=f"{impression.event_id}:click", action="click", request_id=impression.event_id
    )
