"""A release is what was written, or it is refused with the name of the file that is not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from upnext.clock import ManualClock
from upnext.errors import ReleaseCorrupt, ReleaseError
from upnext.release.manifest import read_manifest, sealed, write_manifest
from upnext.release.release import Release
from upnext.release.writer import ReleaseWriter

VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def written(folder: Path, **meta: object) -> Release:
    with ReleaseWriter(folder, ManualClock()) as writer:
        writer.add_array("vectors.user", VECTORS)
        writer.add_json("facts", {"n_items": 3, "names": ["é"]})
        writer.add_bytes("graph", b"\x00onnx", ".onnx")
        return writer.commit(**meta)  # type: ignore[arg-type]


def test_parts_come_back_as_they_were_given(tmp_path: Path) -> None:
    release = Release.open(written(tmp_path).folder)
    np.testing.assert_array_equal(release.array("vectors.user"), VECTORS)
    assert release.array("vectors.user").dtype == np.float32
    assert release.json("facts") == {"n_items": 3, "names": ["é"]}
    assert release.path("graph").read_bytes() == b"\x00onnx"
    assert release.path("graph").suffix == ".onnx"
    assert release.path("vectors.user").name == "vectors.user.npy"
    assert ("facts" in release, "fact" in release) == (True, False)


@pytest.mark.parametrize(
    "array",
    [
        np.empty((0, 5), np.int64),
        np.float64(2.5),
        np.array([b"ab", b"c"]),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.arange(10, dtype=np.uint8)[::3],
        np.array([True, False]),
    ],
    ids=["empty", "scalar", "bytes", "fortran-big-endian", "strided", "bool"],
)
def test_arrays_of_any_shape_order_and_type_come_back(tmp_path: Path, array: np.ndarray) -> None:
    with ReleaseWriter(tmp_path) as writer:
        writer.add_array("a", array)
        release = writer.commit()
    found = Release.open(release.folder).array("a")
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (np.asarray(array).dtype, np.asarray(array).shape)


def test_arrays_are_mapped_not_read_and_cannot_be_written(tmp_path: Path) -> None:
    array = written(tmp_path).array("vectors.user")
    assert isinstance(array.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0


def test_what_is_written_to_an_array_of_ones_own_is_in_no_file_and_in_nobody_elses(tmp_path: Path) -> None:
    release = written(tmp_path)
    own = release.own_array("vectors.user")
    own[1, 2] = 99.0
    assert isinstance(own.base, np.memmap)
    for array in (release.array("vectors.user"), release.own_array("vectors.user")):
        np.testing.assert_array_equal(array, VECTORS)
    Release.open(release.folder, verify=True)


def test_parts_are_decoded_once(tmp_path: Path) -> None:
    release = written(tmp_path)
    assert release.array("vectors.user") is release.array("vectors.user")
    assert release.json("facts") is release.json("facts")


def test_the_manifest_says_where_the_release_comes_from(tmp_path: Path) -> None:
    manifest = written(tmp_path, dataset="ml-1m", parent="old", notes="first", reports={"ndcg@10": {1: 0.5}}).manifest
    assert manifest.id.startswith("20231114T221320.000Z-")
    assert manifest.created_ms == 1_700_000_000_000
    assert (manifest.dataset, manifest.parent, manifest.notes) == ("ml-1m", "old", "first")
    assert manifest.reports == {"ndcg@10": {"1": 0.5}}
    vectors = manifest.parts["vectors.user"]
    assert (vectors.kind, vectors.dtype, vectors.shape) == ("array", "<f4", (3, 4))
    assert (manifest.parts["facts"].kind, manifest.parts["graph"].kind) == ("json", "file")
    assert manifest.parts["graph"].bytes == 5


def test_asking_for_a_part_that_is_not_there_or_of_another_kind_names_those_that_are(tmp_path: Path) -> None:
    release = written(tmp_path)
    with pytest.raises(ReleaseError, match=r"no array 'facts', only: vectors\.user"):
        release.array("facts")
    with pytest.raises(ReleaseError, match="no json 'graph', only: facts"):
        release.json("graph")
    with pytest.raises(ReleaseError, match=r"no part 'nothing', only: facts, graph, vectors\.user"):
        release.path("nothing")


FILES = ["vectors.user.npy", "facts.json", "graph.onnx"]


def flip_a_bit_in_the_middle(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def make_a_folder_of_it(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [flip_a_bit_in_the_middle, truncate, append, Path.unlink, make_a_folder_of_it])
def test_a_damaged_part_is_refused_with_its_name(tmp_path: Path, file: str, damage: Callable[[Path], None]) -> None:
    folder = written(tmp_path).folder
    damage(folder / file)
    with pytest.raises(ReleaseCorrupt, match=rf"{file}.*restore the folder"):
        Release.open(folder)


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_a_missing_or_truncated_part_is_refused_also_without_verifying(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = written(tmp_path).folder
    damage(folder / "graph.onnx")
    with pytest.raises(ReleaseCorrupt, match=r"graph\.onnx"):
        Release.open(folder, verify=False)


@pytest.mark.parametrize("byte", [b"{", b"3", b"f"])
def test_any_altered_byte_of_the_manifest_is_refused_with_its_name(tmp_path: Path, byte: bytes) -> None:
    folder = written(tmp_path, notes="first").folder
    path = folder / "manifest.json"
    raw = path.read_bytes()
    for place in range(raw.index(b'"id"'), len(raw), 17):
        if raw[place : place + 1] in (byte, b" ", b"\n"):
            continue
        path.write_bytes(raw[:place] + byte + raw[place + 1 :])
        with pytest.raises(ReleaseCorrupt, match=r"manifest\.json"):
            Release.open(folder)


def test_a_manifest_made_to_match_an_altered_part_is_refused_since_the_id_no_longer_fits(tmp_path: Path) -> None:
    release = written(tmp_path)
    (release.folder / "graph.onnx").write_bytes(b"other")
    raw = json.loads((release.folder / "manifest.json").read_text())
    raw["parts"]["graph"]["sha256"] = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    (release.folder / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(ReleaseCorrupt, match="altered"):
        Release.open(release.folder)


def test_a_release_under_another_name_is_refused(tmp_path: Path) -> None:
    release = written(tmp_path)
    other = release.folder.rename(tmp_path / "latest")
    with pytest.raises(ReleaseCorrupt, match=release.id):
        Release.open(other)


def test_a_release_of_a_newer_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    release = written(tmp_path)
    newer = sealed(msgspec.structs.replace(release.manifest, format=3))
    folder = release.folder.rename(tmp_path / newer.id)
    write_manifest(newer, folder)
    with pytest.raises(ReleaseError, match=r"format 3.*upgrade upnext"):
        read_manifest(folder)


def test_a_folder_without_a_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="not a release"):
        Release.open(tmp_path)


def test_two_releases_of_one_millisecond_and_content_both_get_a_folder(tmp_path: Path) -> None:
    first, second = written(tmp_path), written(tmp_path)
    assert first.id < second.id
    assert Release.open(first.folder).id == first.id


def test_names_that_would_clash_or_leave_the_folder_are_refused(tmp_path: Path) -> None:
    with ReleaseWriter(tmp_path) as writer:
        writer.add_json("a", 1)
        with pytest.raises(ReleaseError, match="already"):
            writer.add_array("a", VECTORS)
        with pytest.raises(ReleaseError, match="already"):
            writer.add_bytes("a.json", b"")
        for name in ("", "..", "../x", "a/b", "manifest", ".hidden"):
            with pytest.raises(ReleaseError, match="no name"):
                writer.add_json(name, 1) if name == "manifest" else writer.add_bytes(name, b"")


def test_what_cannot_be_kept_is_refused_and_the_writer_goes_on(tmp_path: Path) -> None:
    with ReleaseWriter(tmp_path) as writer:
        with pytest.raises(ReleaseError, match="objects"):
            writer.add_array("a", np.array([object()]))
        with pytest.raises(ReleaseError, match="JSON"):
            writer.add_json("b", object())
        with pytest.raises(ReleaseError, match="missing"):
            writer.add_file("c", tmp_path / "missing.onnx")
        assert set(writer.commit().manifest.parts) == set()


def test_a_file_is_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "index.faiss").write_bytes(bytes(range(256)) * 1000)
    with ReleaseWriter(tmp_path / "releases") as writer:
        writer.add_file("index.user", tmp_path / "index.faiss")
        release = writer.commit()
    assert release.path("index.user").name == "index.user.faiss"
    assert release.path("index.user").read_bytes() == bytes(range(256)) * 1000


def test_an_abandoned_release_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ReleaseWriter(tmp_path) as writer:
        writer.add_json("a", 1 / 0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ReleaseError, match="another writer"):
        writer.add_json("a", 1)
    with pytest.raises(ReleaseError, match="another writer"):
        writer.commit()


def test_a_process_that_dies_before_the_rename_leaves_no_release_to_be_seen(tmp_path: Path) -> None:
    crash = """
import os, sys
from pathlib import Path
from upnext.release.writer import ReleaseWriter
writer = ReleaseWriter(Path(sys.argv[1]) / "releases")
writer.add_json("a", 1)
os.rename = lambda *paths: os._exit(9)
writer.commit()
"""
    assert subprocess.run([sys.executable, "-c", crash, str(tmp_path)], check=False).returncode == 9
    assert all(entry.name.startswith(".") for entry in (tmp_path / "releases").iterdir())
