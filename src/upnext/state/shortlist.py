"""What was worked out for one user ahead of a request, as a record of the store: scored candidates, before any rule."""

import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import msgspec
import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Sources = npt.NDArray[np.uint16]
Origin: TypeAlias = Literal["live", "precompute", "prefetch", "speculation"]

_FORMAT = 2
_BYTES_PER_ITEM = 10  # int32 row, float32 score, uint16 sources
# format, head, n, n_below, length of the rest; n_interactions, n_moves, made_ms
_HEADER = struct.Struct("<B?HHHIIq")


class _Names(msgspec.Struct, frozen=True, array_like=True):
    release: str
    origin: Origin
    region: str
    genres: tuple[str, ...]
    exit: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Names)
ORIGINS: tuple[Origin, ...] = get_args(Origin)


def shortlist_key(subject: str) -> bytes:
    """Where the store keeps the shortlist of `subject`: one, the newest, of the same tag as their state."""
    return b"shortlist/" + subject.encode()


@dataclass(slots=True, frozen=True, eq=False)
class Shortlist:
    """The full tier's ranking for one user, and the fast tier's to top up from; rows of one release.

    It holds for as long as the user has not moved: while `n_moves` of their state is what it was. Interactions count
    there, and hints (a search, a dislike), since they move the session vector; mere activity (an impression, opening
    the app) does not.
    """

    release: str
    n_interactions: int  # of the state that it was made from
    made_ms: int  # since 1970
    origin: Origin  # on what occasion it was made
    region: str  # of the request that it is for, "" for none
    genres: tuple[str, ...]  # … and its filter
    exit: str  # of the ranker
    rows: Rows  # (n,) distinct, best first
    scores: Floats  # (n,)
    sources: Sources  # (n,) a bit for every source that returned the item
    below_rows: Rows  # (n_below,) candidates of retrieval, best first; may hold those of `rows` as well
    below_scores: Floats
    below_sources: Sources
    head: bool = False  # of one of the most active users, to be kept at hand
    n_moves: int = 0  # of the state that it was made from

    def pack(self) -> bytes:
        """Little-endian header, then names, then the arrays end to end; at most 65,535 rows of each kind."""
        names = _encoder.encode(_Names(self.release, self.origin, self.region, self.genres, self.exit))
        header = _HEADER.pack(
            _FORMAT,
            self.head,
            len(self.rows),
            len(self.below_rows),
            len(names),
            self.n_interactions,
            self.n_moves,
            self.made_ms,
        )
        arrays = (
            self.rows, self.below_rows, self.scores, self.below_scores, self.sources, self.below_sources
        )  # fmt: skip
        return b"".join((header, names, *(array.tobytes() for array in arrays)))

    @classmethod
    def unpack(cls, raw: bytes | None) -> "Shortlist | None":
        """The shortlist in `raw`, its arrays read-only views of it.

        None for None, and for bytes that are damaged or of another format: what is lost can be worked out again.
        """
        if raw is None or len(raw) < _HEADER.size or raw[0] != _FORMAT:
            return None
        _, head, n, n_below, n_names, n_interactions, n_moves, made_ms = _HEADER.unpack_from(raw)
        at, both = _HEADER.size + n_names, n + n_below
        if len(raw) != at + _BYTES_PER_ITEM * both:
            return None
        try:
            names = _decoder.decode(raw[_HEADER.size : at])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        rows = np.frombuffer(raw, np.int32, both, at)
        scores = np.frombuffer(raw, np.float32, both, at + 4 * both)
        sources = np.frombuffer(raw, np.uint16, both, at + 8 * both)
        return cls(
            names.release, n_interactions, made_ms, names.origin, names.region, names.genres, names.exit,
            rows[:n], scores[:n], sources[:n], rows[n:], scores[n:], sources[n:], head, n_moves,
        )  # fmt: skip

    @property
    def size_bytes(self) -> int:
        """What its arrays take in memory, about."""
        return _BYTES_PER_ITEM * (len(self.rows) + len(self.below_rows))
