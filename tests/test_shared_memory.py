"""Files that the processes of one server share: there while it runs, gone after it, however it ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from upnext import shared_memory
from upnext.errors import SettingsError
from upnext.shared_memory import Words, create_words, shared_file, shared_folder

KILLED = """
import os, signal
from pathlib import Path
from upnext import shared_memory
shared_memory._MEMORY = Path({place!r})
with shared_memory.shared_folder("things"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shared_memory, "_MEMORY", tmp_path)
    return tmp_path


def test_a_file_is_there_as_it_was_made_and_gone_at_the_end(place: Path) -> None:
    with shared_file("things", lambda path: path.write_bytes(b"made") and None) as path:
        assert path.read_bytes() == b"made"
        assert path.is_relative_to(place)
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_behind_goes_and_what_others_use_stays(place: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED.format(place=str(place))], check=False)
    (left,) = place.iterdir()
    in_use = place / f"upnext-things-{os.getppid()}-abc"
    in_use.mkdir()
    with shared_folder("things") as folder:
        assert sorted(place.iterdir()) == sorted([in_use, folder])
    assert not left.exists()


def test_words_are_shared_by_whoever_opens_them_and_another_file_is_refused(tmp_path: Path) -> None:
    magic = b"upnext test 1\0\0\0"
    create_words(tmp_path / "words", magic, 100)
    one, other = (Words(tmp_path / "words", magic, 100, "table") for _ in range(2))
    one.words[99] = -5
    assert other.words[99] == -5
    assert set(other.words[2:99]) == {0}
    for n_words, name in ((99, magic), (100, b"upnext test 2\0\0\0")):
        with pytest.raises(SettingsError, match="is no table; start the server anew"):
            Words(tmp_path / "words", name, n_words, "table")
    one.close()
    assert other.words[99] == -5
