"""The Globo.com click stream (G1 news portal, 2017) as events; knows nothing of other formats.

Source: G. de S. P. Moreira et al., "News Session-Based Recommendations using Deep Neural Networks", DLRS 2018.
"""

from collections.abc import Iterator

from upnext.domain.event import Event, Item
from upnext.errors import DataError
from upnext.ingest.importers.delimited import Delimited
from upnext.ingest.importers.files import FileSource
from upnext.ingest.importers.source import Record

COLUMNS = ("user_id", "session_id", "click_article_id", "click_timestamp")
# The coded columns, by the names an event's context has for them.
CONTEXT_COLUMNS = {
    "environment": "click_environment",
    "device": "click_deviceGroup",
    "os": "click_os",
    "country": "click_country",
    "region": "click_region",
    "referrer": "click_referrer_type",
}


class Globo(FileSource):
    """The clicks of a file, or of a folder or zip of files (`clicks_hour_000.csv` …), in order of time as they are.

    Every row is a `click` of its session, with the coded columns as strings in its context. Articles come as bare
    ids when first clicked: the data set has neither text nor dates of publication for them.
    """

    format = "globo"

    def records(self) -> Iterator[Record]:
        names = [name for name in self._files.names if ".csv" in name]
        if not names:
            raise DataError(f"{self._files.path} holds no .csv file of clicks; check the path")
        articles: set[str] = set()
        for name in names:
            yield from self._clicks(Delimited(self._files, name), articles)

    def _clicks(self, table: Delimited, articles: set[str]) -> Iterator[Record]:
        user, session, article, moment = (table.position(column) for column in COLUMNS)
        context_at = [(key, table.position(column)) for key, column in CONTEXT_COLUMNS.items()]
        for row in table:
            self.line = table.line
            if not isinstance(row, list):
                yield row
                continue
            try:
                timestamp_ms = int(row[moment])
            except ValueError:
                yield table.rejected("bad_number", f"has click_timestamp {row[moment]!r}, not a number")
                continue
            item_id = row[article]
            if item_id and item_id not in articles:
                articles.add(item_id)
                yield Item(item_id=item_id)
            yield Event(
                # Made of the click itself, not its line, so that hourly files and files joined from them agree.
                event_id=f"globo:{row[session]}:{timestamp_ms}:{item_id}",
                action="click",
                timestamp_ms=timestamp_ms,
                user_id=row[user],
                session_id=row[session],
                item_id=item_id,
                context={key: row[at] for key, at in context_at},
            )
