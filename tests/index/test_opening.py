"""Only a whole index file of a known kind is opened."""

from pathlib import Path

import numpy as np
import pytest

from upnext.errors import ReleaseCorrupt
from upnext.index import open_index
from upnext.index.flat import FlatIndex


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "index.bin"
    FlatIndex.build(np.eye(8, dtype=np.float32)).save(path)
    return path


def test_a_whole_file_is_opened(saved: Path) -> None:
    assert open_index(saved).search(np.eye(8, dtype=np.float32)[3:4], 1)[1].tolist() == [[3]]


def test_saving_again_replaces_the_file(saved: Path) -> None:
    FlatIndex.build(np.eye(4, dtype=np.float32)).save(saved)
    assert open_index(saved).n_items == 4


@pytest.mark.parametrize("keep_bytes", [0, 5, 60, -1])
def test_a_truncated_file_is_refused_with_its_name(saved: Path, keep_bytes: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep_bytes])
    with pytest.raises(ReleaseCorrupt, match=r"index\.bin"):
        open_index(saved)


def test_an_index_of_an_unknown_kind_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes().replace(b'"flat"', b'"disk"'))
    with pytest.raises(ReleaseCorrupt, match="disk"):
        open_index(saved)


def test_a_file_of_another_format_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1] + b"2")
    with pytest.raises(ReleaseCorrupt, match=r"index\.bin"):
        open_index(saved)


def test_a_file_whose_front_is_damaged_is_refused(saved: Path) -> None:
    saved.write_bytes(b"XXXX" + saved.read_bytes()[4:])
    with pytest.raises(ReleaseCorrupt, match=r"index\.bin"):
        open_index(saved)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseCorrupt, match=r"index\.bin"):
        open_index(tmp_path / "index.bin")
