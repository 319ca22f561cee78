"""The table by which workers learn whose states changed."""

import multiprocessing
from pathlib import Path

import pytest

from upnext.errors import SettingsError
from upnext.state.changes import Changes, create_changes, shared_changes


@pytest.fixture
def table(tmp_path: Path) -> Path:
    create_changes(tmp_path / "changes")
    return tmp_path / "changes"


def test_a_mark_shows_in_every_view_of_the_table_for_that_subject_alone(table: Path) -> None:
    one, other = Changes(table), Changes(table)
    ann, bob = other.of("u:ann"), other.of("u:bob")
    one.mark(["u:ann"])
    assert other.of("u:ann") != ann
    assert other.of("u:bob") == bob


def test_no_mark_ever_looks_like_one_before(table: Path) -> None:
    one, other = Changes(table), Changes(table)
    seen = set()
    for writer in (one, other, one, one, other):
        writer.mark(["u:ann"])
        seen.add(one.of("u:ann"))
    assert len(seen) == 5


def test_everybody_is_changed_at_once(table: Path) -> None:
    changes = Changes(table)
    before = [changes.of(subject) for subject in ("u:ann", "u:bob")]
    changes.mark_everybody()
    assert all(changes.of(subject) != was for subject, was in zip(("u:ann", "u:bob"), before, strict=True))


def test_tenants_do_not_share_their_subjects(table: Path) -> None:
    shop, bank = Changes(table, "shop"), Changes(table, "bank")
    before = bank.of("u:ann")
    shop.mark(["u:ann"])
    assert bank.of("u:ann") == before


def test_another_process_marks_as_well(table: Path) -> None:
    changes = Changes(table)
    before = changes.of("u:ann")
    process = multiprocessing.get_context("fork").Process(target=_mark, args=(table,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert changes.of("u:ann") != before


def _mark(table: Path) -> None:
    Changes(table).mark(["u:ann"])


def test_the_shared_file_is_gone_afterwards_and_its_maps_go_on() -> None:
    with shared_changes() as path:
        changes = Changes(path)
    assert not path.exists()
    before = changes.of("u:ann")
    changes.mark(["u:ann"])
    assert changes.of("u:ann") != before
    changes.close()


@pytest.mark.parametrize("content", [b"", b"something else", b"upnext guard 1\0\0" + b"\0" * 8 * ((1 << 20) + 1)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SettingsError, match="no table of changes"):
        Changes(tmp_path / "file")
