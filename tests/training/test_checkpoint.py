"""A checkpoint is whole, belongs to one run, and says so."""

import pytest
import torch

from upnext.errors import TrainingError
from upnext.training import checkpoint
from upnext.training.checkpoint import digest_of, read_checkpoint, write_checkpoint


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "deeper" / "run.pt"
    write_checkpoint(path, "a", {"epoch": 3, "weights": {"w": torch.arange(3)}, "config": b"{}"})
    record = read_checkpoint(path, "a")
    assert record["epoch"] == 3
    assert record["weights"]["w"].tolist() == [0, 1, 2]
    assert read_checkpoint(path, None)["config"] == b"{}"


def test_no_file_is_no_checkpoint(tmp_path):
    assert read_checkpoint(tmp_path / "run.pt", "a") is None


def test_another_run_may_not_take_it_up(tmp_path):
    write_checkpoint(tmp_path / "run.pt", "a", {"epoch": 1})
    with pytest.raises(TrainingError, match="other settings"):
        read_checkpoint(tmp_path / "run.pt", "b")


def test_a_crash_while_writing_leaves_the_old_one_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    write_checkpoint(path, "a", {"epoch": 1})

    def crash(content, file):
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.torch, "save", crash)
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(path, "a", {"epoch": 2})
    assert read_checkpoint(path, "a") == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept_bytes", [0, 10, 500])
def test_a_truncated_file_is_reported_not_used(tmp_path, kept_bytes):
    path = tmp_path / "run.pt"
    write_checkpoint(path, "a", {"epoch": 1})
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        read_checkpoint(path, "a")


def test_a_digest_tells_where_one_part_ends_and_the_next_begins():
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert digest_of(b"ab", b"c") == digest_of(b"ab", b"c")
