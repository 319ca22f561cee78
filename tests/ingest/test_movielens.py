"""MovieLens sets in the shapes they are published in."""

from pathlib import Path

import pytest

from tests.ingest.importing import read_all, write_zip
from upnext.domain.event import Event, Item, User
from upnext.errors import DataError
from upnext.ingest.importers.movielens import FIRST_MOMENT_MS, MovieLens

DAY_1995_MS = 788_918_400_000


@pytest.fixture
def positioned(tmp_path: Path) -> Path:
    """The 1M set without time stamps, in small, with three broken lines."""
    members: dict[str, str | bytes] = {
        "ml-1m/gsasrec_valid_users.csv": "sasrec_user,user_id\n14,273\n",
        "ml-1m/users.csv": "user_id,gender,age,occupation,zip\n1,F,1,10,48067\n",
        "ml-1m/movies.csv": (
            b"movie_id,title,genres\n1,Toy Story (1995),Animation|Comedy\n"
            b'2,"Trip, A (1902)",Sci-Fi\n3,Untimely,Drama\n4,\xff,Drama\n'
        ),
        "ml-1m/interactions.csv": (
            "user_id,movie_id,rating,position,from_end\n1,2,4,1,0\n1,1,5,0,1\nx,1,3,0,0\n2,3,3,0,0\n2,3\n"
        ),
    }
    return write_zip(tmp_path / "renamed.zip", members)


def test_positions_become_seconds_so_that_each_users_order_is_kept(positioned: Path) -> None:
    events = read_all(MovieLens(positioned)).events
    assert [(event.user_id, event.item_id, event.timestamp_ms - FIRST_MOMENT_MS) for event in events] == [
        ("1", "1", 0),
        ("2", "3", 0),
        ("1", "2", 1000),
    ]
    assert events[0] == Event(
        event_id="ml-1m:3", action="play", timestamp_ms=FIRST_MOMENT_MS, user_id="1", item_id="1", value=5.0
    )


def test_titles_give_the_year_and_genres_are_split(positioned: Path) -> None:
    assert read_all(MovieLens(positioned)).items == [
        Item(item_id="1", title="Toy Story (1995)", genres=("Animation", "Comedy"), published_ms=DAY_1995_MS),
        Item(item_id="2", title="Trip, A (1902)", genres=("Sci-Fi",), published_ms=-2_145_916_800_000),
        Item(item_id="3", title="Untimely", genres=("Drama",)),
    ]


def test_users_come_with_their_attributes(positioned: Path) -> None:
    attributes = {"gender": "F", "age": 1, "occupation": "10", "zip": "48067"}
    assert read_all(MovieLens(positioned)).users == [User(user_id="1", attributes=attributes)]


def test_broken_lines_are_rejected_with_their_numbers(positioned: Path) -> None:
    assert read_all(MovieLens(positioned)).reasons() == [(5, "bad_encoding"), (4, "bad_number"), (6, "wrong_columns")]


def test_ratings_with_time_stamps_come_in_order_of_time_and_tags_become_text(tmp_path: Path) -> None:
    members: dict[str, str | bytes] = {
        "small/ratings.csv": "userId,movieId,rating,timestamp\n1,7,0.5,964982703\n2,7,4.0,964981247\n",
        "small/movies.csv": "movieId,title,genres\n7,Strange Days (1999–2001) ,(no genres listed)\n",
        "small/tags.csv": "userId,movieId,tag,timestamp\n1,7,dark,1\n2,7,odd,2\n3,7,dark,3\n",
    }
    read = read_all(MovieLens(write_zip(tmp_path / "small.zip", members)))
    assert [(event.event_id, event.timestamp_ms, event.value) for event in read.events] == [
        ("small:3", 964_981_247_000, 4.0),
        ("small:2", 964_982_703_000, 0.5),
    ]
    (item,) = read.items
    assert (item.title, item.text, item.genres) == ("Strange Days (1999–2001)", "dark, odd", ())
    assert item.published_ms == 915_148_800_000


def test_ratings_of_one_moment_keep_the_order_of_the_file(tmp_path: Path) -> None:
    rows = "".join(f"1,{movie},3,{movie % 2}\n" for movie in range(2000))
    path = write_zip(tmp_path / "s.zip", {"s/ratings.csv": "userId,movieId,rating,timestamp\n" + rows})
    items = [int(event.item_id or -1) for event in read_all(MovieLens(path)).events]
    assert items == [*range(0, 2000, 2), *range(1, 2000, 2)]


def test_typed_headers_are_understood(tmp_path: Path) -> None:
    members: dict[str, str | bytes] = {
        "s/s.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949.0\n",
        "s/s.item": (
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            '242\t"Kolya"\t1996\tComedy Film-Noir\n'
        ),
        "s/s.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n196\t49\tM\twriter\t5\n",
    }
    read = read_all(MovieLens(write_zip(tmp_path / "s.zip", members)))
    assert (read.events[0].timestamp_ms, read.events[0].item_id) == (881_250_949_000, "242")
    (item,) = read.items
    assert (item.title, item.genres, item.published_ms) == ('"Kolya"', ("Comedy", "Film-Noir"), 820_454_400_000)
    assert read.users[0].attributes == {"age": 49, "gender": "M", "occupation": "writer", "zip": "5"}


def test_the_original_files_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    (tmp_path / "movies.dat").write_bytes("1193::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1"))
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n")
    read = read_all(MovieLens(tmp_path))
    assert [event.item_id for event in read.events] == ["1193", "661"]
    assert read.items[0].title == "Misérables, Les (1995)"
    assert read.users[0].attributes["zip"] == "48067"


def test_the_original_100k_files_have_a_column_per_genre(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n")
    flags = ["0"] * 19
    flags[5] = flags[8] = "1"
    (tmp_path / "u.item").write_text("242|Kolya (1996)|24-Jan-1997||http://x|" + "|".join(flags) + "\n")
    read = read_all(MovieLens(tmp_path))
    assert read.items[0].genres == ("Comedy", "Drama")
    assert not read.rejected


def test_a_folder_without_ratings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n")
    with pytest.raises(DataError, match=r"ratings\.csv"):
        read_all(MovieLens(tmp_path))
