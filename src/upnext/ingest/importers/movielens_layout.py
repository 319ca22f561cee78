"""The shapes MovieLens sets are published in: which member holds what, in which columns; reads no rows."""

from pathlib import PurePosixPath
from typing import NamedTuple

from upnext.ingest.importers.delimited import Delimited
from upnext.ingest.importers.files import DataFiles

NO_GENRES = "(no genres listed)"


class Layout(NamedTuple):
    """One kind of member: how its path ends and how its rows are written; `columns` where it has no header."""

    ending: str
    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    quoted: bool = True


_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_MOVIES_100K = ("movie_id", "title", "release_date", "video_release_date", "imdb_url", *_GENRES_100K)
_USERS_1M = ("user_id", "gender", "age", "occupation", "zip")
_USERS_100K = ("user_id", "age", "gender", "occupation", "zip")

RATINGS = (
    Layout("interactions.csv"),
    Layout("ratings.csv"),
    Layout("ratings.dat", "::", ("user_id", "movie_id", "rating", "timestamp"), quoted=False),
    Layout("u.data", "\t", ("user_id", "movie_id", "rating", "timestamp"), quoted=False),
    Layout(".inter", "\t", quoted=False),
)
MOVIES = (
    Layout("movies.csv"),
    Layout("movies.dat", "::", ("movie_id", "title", "genres"), "latin-1", quoted=False),
    Layout("u.item", "|", _MOVIES_100K, "latin-1", quoted=False),
    Layout(".item", "\t", quoted=False),
)
USERS = (
    Layout("users.csv"),
    Layout("users.dat", "::", _USERS_1M, "latin-1", quoted=False),
    Layout("u.user", "|", _USERS_100K, "latin-1", quoted=False),
    Layout(".user", "\t", quoted=False),
)
TAGS = (Layout("tags.csv"),)


def open_member(files: DataFiles, layouts: tuple[Layout, ...]) -> Delimited | None:
    """The member that fits the first of `layouts` any fits, with plain column names; None if none does."""
    for layout in layouts:
        name = files.find(layout.ending, f"{layout.ending}.gz")
        if name is not None:
            _, delimiter, columns, encoding, quoted = layout
            table = Delimited(files, name, delimiter=delimiter, columns=columns, encoding=encoding, quoted=quoted)
            # Some headers give the type too: `user_id:token`.
            table.columns = [column.partition(":")[0] for column in table.columns]
            return table
    return None


def set_name(files: DataFiles) -> str:
    """What the set is called: the folder inside its zip, as in `ml-1m`, else the name of its file or folder."""
    folders = {PurePosixPath(name).parent.name for name in files.names} - {""}
    return min(folders) if folders else PurePosixPath(files.path.name).name.partition(".")[0]


def genres_of(columns: list[str], row: list[str]) -> tuple[str, ...]:
    """The genres in a movie's row: one column separated by bars, one separated by blanks, or a column each."""
    if "genres" in columns:
        text = row[columns.index("genres")].strip()
        return () if text == NO_GENRES else tuple(genre for genre in text.split("|") if genre)
    if "class" in columns:
        return tuple(row[columns.index("class")].split())
    return tuple(name for name, flag in zip(columns, row, strict=True) if name in _GENRES_100K and flag == "1")
