"""The UCI "Online Retail" invoices (a UK gift shop, 2010–2011) as purchases; knows nothing of other formats.

Source: D. Chen, S. L. Sain, K. Guo, "Data mining for the online retail industry", 2012.
"""

import statistics
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from upnext.domain.event import Event, Item
from upnext.errors import DataError
from upnext.ingest.importers.delimited import Delimited
from upnext.ingest.importers.files import FileSource
from upnext.ingest.importers.source import Record, Rejected

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")


class OnlineRetail(FileSource):
    """Invoice lines as `purchase` events, in the order of the file, which is that of time.

    The invoice is the session, CustomerID the user where known, price times quantity the value. Rejected, each with
    a reason of its own: cancellations, quantities or prices that are not positive (corrections of the stock), and
    stock codes that do not begin with five digits (postage, fees, vouchers). Dates are local time, read as UTC.
    Items come last: title is the most common description of the accepted lines, price the median.
    """

    format = "online-retail"

    def records(self) -> Iterator[Record]:
        name = self._files.find(".csv", ".csv.gz")
        if name is None:
            raise DataError(f"{self._files.path} holds no .csv file of invoices; check the path")
        table = Delimited(self._files, name)
        at = [table.position(column) for column in COLUMNS]
        titles: defaultdict[str, Counter[str]] = defaultdict(Counter)
        prices: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        for row in table:
            self.line = table.line
            if not isinstance(row, list):
                yield row
                continue
            fields = [row[position] for position in at]
            outcome = self._purchase(table, fields)
            if isinstance(outcome, Event) and outcome.item_id is not None:
                prices[outcome.item_id].append(float(fields[5]))
                titles[outcome.item_id][fields[2]] += 1
            yield outcome
        for code in sorted(prices):
            title = max(titles[code], key=titles[code].__getitem__)
            yield Item(item_id=code, title=" ".join(title.split()), price=round(statistics.median(prices[code]), 4))

    def _purchase(self, table: Delimited, fields: list[str]) -> Event | Rejected:
        invoice, code, _, quantity_text, date_text, price_text, customer = fields
        if invoice.startswith("C"):
            return table.rejected("cancellation", f"cancels an order (invoice {invoice})")
        if not (code[:5].isdecimal() and len(code) >= 5):
            return table.rejected("not_a_product", f"is not about a product (stock code {code!r})")
        try:
            quantity, price = int(quantity_text), float(price_text)
        except ValueError:
            return table.rejected("bad_number", f"has quantity {quantity_text!r} and price {price_text!r}")
        if quantity <= 0:
            return table.rejected("non_positive_quantity", f"has quantity {quantity}")
        if price <= 0:
            return table.rejected("non_positive_price", f"has price {price}")
        try:
            moment = datetime.fromisoformat(date_text).replace(tzinfo=UTC)
        except ValueError:
            return table.rejected("bad_date", f"has InvoiceDate {date_text!r}, not an ISO date")
        return Event(
            event_id=f"{self.format}:{table.line}",
            action="purchase",
            timestamp_ms=int(moment.timestamp()) * 1000,
            user_id=customer or None,
            session_id=invoice,
            item_id=code,
            value=round(price * quantity, 4),
        )
