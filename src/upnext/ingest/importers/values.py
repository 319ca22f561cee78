"""Cells of foreign tables as values of fields: ids, dates, numbers, labels, flags; knows nothing of files or columns.

A cell is what CSV, JSON or Parquet gave: text, a number, a date, a list, None. Absent is None, empty text or NaN.
"""

import math
import re
from datetime import UTC, date, datetime
from typing import Any

from upnext.contracts.fields import FIRST_US, unit_of

_PER_MS = {"milliseconds": 1, "microseconds": 1_000, "nanoseconds": 1_000_000}
_LABEL_BREAK = re.compile(r"[|;,]")
_FLAGS = {"1": True, "true": True, "yes": True, "t": True, "0": False, "false": False, "no": False, "f": False}
_YEARS = range(1000, 3000)
_SECONDS_BELOW = 5_000_000_000


def absent(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def id_of(cell: Any) -> str | None:
    """An id as text, None where absent; a whole float, as columns of integers with gaps have, loses its `.0`."""
    if absent(cell):
        return None
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def number_of(cell: Any) -> float | None:
    """None where absent; raises `ValueError` for what is no number."""
    return None if absent(cell) else float(cell)


def flag_of(cell: Any, default: bool) -> bool:
    """`default` where absent; raises `ValueError` for what is neither yes nor no."""
    if absent(cell):
        return default
    flag = _FLAGS.get(str(cell).strip().lower())
    if flag is None:
        raise ValueError(f"{cell!r} is neither true nor false")
    return flag


def labels_of(cell: Any) -> tuple[str, ...]:
    """A list, or text separated by bars, semicolons or commas, as distinct labels in their order."""
    if absent(cell):
        return ()
    labels = cell if isinstance(cell, list) else _LABEL_BREAK.split(str(cell))
    return tuple(dict.fromkeys(text for label in labels if (text := str(label).strip())))


def moment_ms(cell: Any) -> int | None:
    """When an event happened, in milliseconds: an ISO date or a number of s, ms, µs or ns, told by its magnitude.

    Dates without a zone are UTC. None where absent; raises `ValueError` for what is no date from 1973 on.
    """
    number = None if absent(cell) else _number_or_moment(cell)
    if number is None or isinstance(number, datetime):
        return None if number is None else _ms_of(number)
    unit = unit_of(int(number))
    if unit is None:
        raise ValueError(f"{cell!r} is no date from 1973 on in any unit")
    return _scaled(number, unit)


def published_ms(cell: Any) -> int | None:
    """When an item was published, in milliseconds: as `moment_ms`, but also a year alone, and dates before 1973.

    Numbers of a magnitude below 5e9 are seconds. None where absent; raises `ValueError` for what is no date.
    """
    number = None if absent(cell) else _number_or_moment(cell)
    if number is None or isinstance(number, datetime):
        return None if number is None else _ms_of(number)
    if number in _YEARS:
        return _ms_of(datetime(int(number), 1, 1))
    span = abs(number)
    if span < _SECONDS_BELOW:
        return _scaled(number, "seconds")
    return _scaled(number, "milliseconds" if span < FIRST_US else unit_of(int(span)) or "milliseconds")


def _number_or_moment(cell: Any) -> int | float | datetime:
    if isinstance(cell, datetime):
        return cell
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, str):
        text = cell.strip()
        try:
            return int(text) if text.removeprefix("-").isdecimal() else _finite(float(text))
        except ValueError:
            return datetime.fromisoformat(text.removesuffix(" UTC"))
    if isinstance(cell, int | float):
        return _finite(cell)
    raise ValueError(f"{cell!r} is no date")


def _finite(number: int | float) -> int | float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is no date")
    return number


def _ms_of(moment: datetime) -> int:
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _scaled(number: int | float, unit: str) -> int:
    return round(number * 1000) if unit == "seconds" else int(number) // _PER_MS[unit]
