"""Which format a path holds, told by looking inside, and the importer for it; reads no records."""

from collections.abc import Mapping
from pathlib import Path

from upnext.errors import DataError
from upnext.ingest.importers.files import DataFiles
from upnext.ingest.importers.globo import Globo
from upnext.ingest.importers.movielens import MovieLens
from upnext.ingest.importers.movielens_layout import RATINGS
from upnext.ingest.importers.online_retail import OnlineRetail
from upnext.ingest.importers.open_bandit import OpenBandit
from upnext.ingest.importers.source import Source
from upnext.ingest.importers.synthetic import Synthetic
from upnext.ingest.importers.table import Table
from upnext.ingest.importers.user_items import UserItems, is_user_items

_DATA_SETS: dict[str, type[MovieLens | Globo | OnlineRetail | OpenBandit | UserItems]] = {
    importer.format: importer for importer in (MovieLens, Globo, OnlineRetail, OpenBandit, UserItems)
}
# `table` is any table of events, `items` a table of items without events, `synthetic` a world made up on the spot.
FORMATS = (*_DATA_SETS, "table", "items", "synthetic")
# A column no other data set has.
_TELLING_COLUMNS = {"click_article_id": "globo", "StockCode": "online-retail", "propensity_score": "open-bandit"}


def guess_format(path: Path) -> str:
    """One of `FORMATS`: the data set whose files or columns these are, else `table`.

    `synthetic`, with sizes or without (`synthetic:n_items=1000`), needs no file. Raises `DataError` when there is
    nothing at `path`.
    """
    if path.name.partition(":")[0] == Synthetic.format and not path.exists():
        return Synthetic.format
    files = DataFiles(path)
    if _is_movielens(files):
        return MovieLens.format
    for name in files.names:
        if name.endswith((".csv", ".csv.gz")):
            for column in _first_line(files, name).split(","):
                if column in _TELLING_COLUMNS:
                    return _TELLING_COLUMNS[column]
    return UserItems.format if is_user_items(files) else "table"


def open_source(
    path: Path,
    *,
    now_ms: int,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    items: Path | None = None,
    items_mapping: Mapping[str, str] | None = None,
) -> Source:
    """The importer for `path`, of the format given or else guessed.

    `mapping`, `items` and `items_mapping` are for tables: field to column, a table of items, and its own mapping.
    `now_ms` is the present of a synthetic world. Raises `DataError` for an unknown format, a path that does not hold
    it, or tables' options with another format.
    """
    chosen = format or guess_format(path)
    if chosen not in FORMATS:
        raise DataError(f"there is no format {chosen!r}; use one of {', '.join(FORMATS)}, or leave it out")
    if chosen == "table":
        return Table(path, mapping, items, items_mapping)
    if chosen == "items":
        return Table(None, None, path, {**(mapping or {}), **(items_mapping or {})})
    if mapping or items or items_mapping:
        raise DataError(f"{path} is of format {chosen}, which has columns of its own; leave out --map and --items")
    if chosen == Synthetic.format:
        return Synthetic(path.name, now_ms)
    return _DATA_SETS[chosen](path)


def _is_movielens(files: DataFiles) -> bool:
    for layout in RATINGS:
        name = files.find(layout.ending, f"{layout.ending}.gz")
        if name is not None:
            header = _first_line(files, name)
            return layout.columns is not None or "movie" in header or ("item_id:" in header and "rating:" in header)
    return False


def _first_line(files: DataFiles, name: str) -> str:
    _, first = next(files.lines(name), (0, ""))
    return first if isinstance(first, str) else ""
