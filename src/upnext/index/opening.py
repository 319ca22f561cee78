"""Opens an index file of any kind; the only place that knows them all."""

from pathlib import Path

import faiss
import msgspec

from upnext.errors import ReleaseCorrupt
from upnext.index.faiss_index import MAGIC, FaissIndex, Header
from upnext.index.flat import FlatIndex
from upnext.index.hnsw import HnswIndex
from upnext.index.interface import VectorIndex
from upnext.index.ivf import IvfIndex
from upnext.index.pq import PqIndex

KINDS: dict[str, type[FlatIndex] | type[IvfIndex] | type[HnswIndex] | type[PqIndex]] = {
    "flat": FlatIndex,
    "ivf": IvfIndex,
    "hnsw": HnswIndex,
    "pq": PqIndex,
}


def open_index(path: Path) -> VectorIndex:
    """The index saved in `path`, mapped into memory: codes are read when touched and shared between processes.

    Raises `ReleaseCorrupt` when the file is missing or not such an index.
    """
    try:
        header = _header_of(path)
        # The other flag, IO_FLAG_MMAP, makes inverted lists fetch ahead with threads of their own: slower by far.
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        opened: FaissIndex = KINDS[header.kind](index, header.dim)
        opened.even_length = header.even_length
    except (OSError, RuntimeError, ValueError, KeyError, AttributeError, msgspec.DecodeError) as error:
        raise ReleaseCorrupt(f"{path} is not a vector index that can be opened ({error}); build it anew") from error
    return opened


def _header_of(path: Path) -> Header:
    tail = len(MAGIC) + 4
    with path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        file.seek(max(size_bytes - tail, 0))
        length, magic = int.from_bytes(file.read(4), "little"), file.read()
        if magic != MAGIC or length + tail > size_bytes:
            raise ValueError("its end is missing")
        file.seek(size_bytes - tail - length)
        return msgspec.json.decode(file.read(length), type=Header)
