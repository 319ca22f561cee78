"""An LMDB environment is opened once per process, as durable as asked, and closed by its last user."""

import subprocess
import sys
from pathlib import Path

import pytest

from upnext.errors import StoreError
from upnext.store.lmdb_environment import MIB, open_environment, release_environment

READER = """
import sys, lmdb
environment = lmdb.open(sys.argv[1])
transaction = environment.begin()
print("reading", flush=True)
sys.stdin.read()
"""


def start_reader(folder: Path) -> subprocess.Popen[str]:
    """A process that is inside a read transaction."""
    command = [sys.executable, "-c", READER, str(folder)]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    return reader


@pytest.mark.parametrize("durable", [True, False])
def test_every_commit_is_flushed_to_the_disk_only_when_durable(tmp_path: Path, durable: bool) -> None:
    environment = open_environment(tmp_path, durable=durable, map_size_bytes=MIB)
    flags = environment._lmdb.flags()
    assert (flags["sync"], flags["metasync"]) == (durable, durable)
    release_environment(environment)


def test_the_last_user_closes_the_files_and_they_can_be_opened_anew(tmp_path: Path) -> None:
    first = open_environment(tmp_path, durable=True, map_size_bytes=MIB)
    assert open_environment(tmp_path, durable=True, map_size_bytes=MIB) is first
    release_environment(first)
    release_environment(first)
    again = open_environment(tmp_path, durable=False, map_size_bytes=MIB)
    assert again is not first
    release_environment(again)


def test_an_error_of_the_library_leaves_as_a_store_error_naming_the_folder(tmp_path: Path) -> None:
    environment = open_environment(tmp_path, durable=False, map_size_bytes=MIB)
    with pytest.raises(StoreError, match=str(tmp_path)):
        environment.write(lambda transaction: transaction.put(b"k" * 600, b""))
    release_environment(environment)


def test_opening_frees_the_place_of_a_reader_that_was_killed_but_not_of_one_alive(tmp_path: Path) -> None:
    with start_reader(tmp_path) as alive, start_reader(tmp_path) as killed:
        killed.kill()
        killed.wait()
        environment = open_environment(tmp_path, durable=False, map_size_bytes=MIB)
        assert environment._lmdb.reader_check() == 0
        assert str(alive.pid) in environment._lmdb.readers()
        release_environment(environment)
        alive.kill()
