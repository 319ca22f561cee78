"""MovieLens ratings as plays, with movies, tags and users; knows nothing of other formats.

Source: F. M. Harper, J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from upnext.contracts.item import MAX_TEXT_CHARS
from upnext.domain.event import Event, Item, User
from upnext.errors import DataError
from upnext.ingest.importers.delimited import Delimited
from upnext.ingest.importers.files import FileSource
from upnext.ingest.importers.movielens_layout import MOVIES, RATINGS, TAGS, USERS, genres_of, open_member, set_name
from upnext.ingest.importers.source import Record

# When MovieLens-1M begins: a copy of it without time stamps counts its positions from here.
FIRST_MOMENT_MS = 956_703_932_000
_YEAR = re.compile(r"\((\d{4})(?:\s*[-–]\s*\d{0,4})?\)\s*$")
_CHUNK_ROWS = 50_000


class MovieLens(FileSource):
    """Every rating as a `play` whose value is the rating, in order of time; then what is known of movies and users.

    A ratings file with `position` (0 = a user's oldest) instead of time stamps gets made-up ones: position p happens
    p seconds after MovieLens-1M began, for every user alike. That keeps each user's order, and nothing else about
    those times is real. Ratings are sorted in memory, about 40 bytes each. The year in a title gives `published_ms`
    (its first of January, UTC, negative before 1970); a movie's distinct tags become its text.
    """

    format = "movielens"

    def records(self) -> Iterator[Record]:
        ratings = open_member(self._files, RATINGS)
        if ratings is None:
            wanted = ", ".join(layout.ending for layout in RATINGS)
            raise DataError(f"{self._files.path} holds none of {wanted}; check the path or give another --format")
        yield from self._users()
        yield from self._movies()
        yield from self._plays(ratings)

    def _rows(self, table: Delimited) -> Iterator[list[str] | Record]:
        for row in table:
            self.line = table.line
            yield row

    def _users(self) -> Iterator[Record]:
        table = open_member(self._files, USERS)
        if table is None:
            return
        key = table.position("user_id")
        # One name for one thing: some sets say `zip`, others `zip_code`.
        named = [(column.removesuffix("_code"), at) for at, column in enumerate(table.columns) if at != key]
        for row in self._rows(table):
            if isinstance(row, list):
                yield User(user_id=row[key], attributes={name: _attribute(name, row[at]) for name, at in named})
            else:
                yield row

    def _movies(self) -> Iterator[Record]:
        texts: dict[str, str] = {}
        yield from self._tags(texts)
        table = open_member(self._files, MOVIES)
        if table is None:
            return
        key = table.position("movie_id", "movieId", "item_id")
        title_at = table.position("title", "movie_title")
        year_at = table.columns.index("release_year") if "release_year" in table.columns else None
        for row in self._rows(table):
            if not isinstance(row, list):
                yield row
                continue
            title = row[title_at].strip()
            yield Item(
                item_id=row[key],
                title=title,
                genres=genres_of(table.columns, row),
                text=texts.get(row[key], ""),
                published_ms=_published_ms(f"({row[year_at]})" if year_at is not None else title),
            )

    def _tags(self, texts: dict[str, str]) -> Iterator[Record]:
        """Fills `texts` by movie with its distinct tags in the order given; yields only rejections."""
        table = open_member(self._files, TAGS)
        if table is None:
            return
        movie, tag = table.position("movieId", "movie_id"), table.position("tag")
        tags: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for row in self._rows(table):
            if isinstance(row, list):
                tags[row[movie]][row[tag].strip()] = None
            else:
                yield row
        texts.update((movie_id, ", ".join(distinct)[:MAX_TEXT_CHARS]) for movie_id, distinct in tags.items())

    def _plays(self, table: Delimited) -> Iterator[Record]:
        user, movie = table.position("user_id", "userId"), table.position("movie_id", "movieId", "item_id")
        moment, rating = table.position("timestamp", "position"), table.position("rating")
        # Per rating: moment in s, user, movie, line.
        whole = array("q")
        values = array("d")
        for row in self._rows(table):
            if not isinstance(row, list):
                yield row
                continue
            try:
                value = float(row[rating])
                whole.extend(array("q", (int(float(row[moment])), int(row[user]), int(row[movie]), table.line)))
            except (ValueError, OverflowError) as error:
                yield table.rejected("bad_number", f"has a bad field: {error}")
                continue
            values.append(value)
        first_ms = FIRST_MOMENT_MS if table.columns[moment] == "position" else 0
        yield from self._in_order(np.frombuffer(whole, np.int64).reshape(-1, 4), np.frombuffer(values), first_ms)

    def _in_order(
        self, whole: npt.NDArray[np.int64], values: npt.NDArray[np.float64], first_ms: int
    ) -> Iterator[Record]:
        """Plays by moment and then by line; `whole` (n, 4) as in `_plays`, `values` (n,) the ratings."""
        name = set_name(self._files)
        order = np.argsort(whole[:, 0], kind="stable")
        for start in range(0, len(order), _CHUNK_ROWS):
            chunk = order[start : start + _CHUNK_ROWS]
            for (moment_s, user, movie, line), value in zip(whole[chunk].tolist(), values[chunk].tolist(), strict=True):
                self.line = line
                yield Event(
                    event_id=f"{name}:{line}",
                    action="play",
                    timestamp_ms=first_ms + 1000 * moment_s,
                    user_id=str(user),
                    item_id=str(movie),
                    value=value,
                )


def _attribute(name: str, text: str) -> str | int:
    """Ages are numbers; codes of occupations and postal codes, though digits, are names."""
    return int(text) if name == "age" and text.isdecimal() else text


def _published_ms(title: str) -> int | None:
    year = _YEAR.search(title)
    if year is None or int(year.group(1)) == 0:
        return None
    return int(datetime(int(year.group(1)), 1, 1, tzinfo=UTC).timestamp()) * 1000
