"""Which encoding a body is in, by its content type and first bytes; decodes nothing."""

from upnext.contracts.avro_body import MARKER
from upnext.errors import ContractError

JSON = "json"
AVRO = "avro"
_AVRO_TYPES = frozenset({"avro/binary", "application/avro"})
_PROTOBUF_TYPES = frozenset(
    {"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf", "application/grpc"}
)
_WHAT_TO_SEND = (
    "send JSON (application/json), or Avro single-object encoding (avro/binary): C3 01, the schema's fingerprint, the "
    "record; see docs/contracts.md"
)
_OPENING = (b"{", b"[")
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r") | frozenset(range(0xC2, 0xF5))


def encoding_of(body: bytes, content_type: str) -> str:
    """`JSON` or `AVRO`; raises `ContractError` for what is plainly neither, with a sentence that says what to send.

    Content types other than Avro's and Protobuf's count for nothing, since they are often wrong: JSON goes through
    as text, as a form (what curl says by itself) or as nothing at all.
    """
    if content_type == "application/json" and body[:1] in _OPENING:
        return JSON
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _PROTOBUF_TYPES:
        raise ContractError("unsupported_encoding", f"$ is Protobuf by its content type; {_WHAT_TO_SEND}")
    if body.startswith(MARKER):
        return AVRO
    first = body.lstrip()[:1]
    if not body or (first in _OPENING and kind not in _AVRO_TYPES):
        return JSON
    if body[0] == 0 and len(body) > 5:
        schema_id = int.from_bytes(body[1:5], "big")
        raise ContractError(
            "confluent_framing",
            f"$ begins with 00 and the schema id {schema_id} of a Confluent registry; {_WHAT_TO_SEND}",
        )
    if body.startswith(b"Obj\x01"):
        raise ContractError("unsupported_encoding", f"$ is an Avro container file; {_WHAT_TO_SEND}")
    if kind in _AVRO_TYPES or not set(body[:16]) <= _TEXT | frozenset(range(0x80, 0xC0)):
        raise ContractError(
            "unsupported_encoding",
            f"$ begins with {body[:4].hex(' ')}, which is neither JSON nor Avro; {_WHAT_TO_SEND}",
        )
    return JSON
