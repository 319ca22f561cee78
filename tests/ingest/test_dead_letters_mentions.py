"""A forgotten user's id is found in refused bytes in every spelling, and other ids are let be."""

import gzip
import json
import random
import zlib

import pytest

from upnext.ingest.dead_letters_mentions import Mentions


def escaped(text: str, spell: str = "\\u{:04x}") -> str:
    """Every UTF-16 unit of the text as an escape of JSON."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(spell.format(int.from_bytes(units[at : at + 2], "big")) for at in range(0, len(units), 2))


def zigzag_string(text: str) -> bytes:
    """A string as Avro writes it."""
    raw, length, out = text.encode(), 2 * len(text.encode()), b""
    while length > 0x7F:
        out, length = out + bytes([length & 0x7F | 0x80]), length >> 7
    return out + bytes([length]) + raw


IDS = [
    "ann",
    "42",
    "é",
    "李雷",
    "🦊fox",
    "a/b",
    'q"uote',
    "back\\slash",
    "tab\there",
    "ann@example.com",
    "x" * 256,
    " ",
]


@pytest.mark.parametrize("name", IDS)
def test_an_id_is_found_in_every_spelling_of_a_json_string(name: str) -> None:
    mentions = Mentions([name])
    plain = json.dumps(name, ensure_ascii=False)
    for spelled in (plain, json.dumps(name), f'"{escaped(name)}"', '"' + escaped(name, "\\u{:04X}") + '"'):
        whole = '{"action":"clik","user_id": ID,"n":1}'.replace("ID", spelled)
        assert mentions.found_in(whole.encode()), whole
        assert mentions.found_in('{"tags":["z", ID]}'.replace("ID", spelled).encode())
        assert mentions.found_in("{ID:1}".replace("ID", spelled).encode())
        assert mentions.found_in('[{"user_id": ID},{"user_id":"bob"}'.replace("ID", spelled).encode())  # cut off
        assert mentions.found_in(whole.encode("utf-16"))
        assert mentions.found_in(whole.encode("utf-16-le"))
        assert mentions.found_in(json.dumps(whole).encode())  # JSON in a string of JSON
        assert mentions.found_in(json.dumps({"body": json.dumps({"body": whole})}).encode())
        assert mentions.found_in(gzip.compress(whole.encode()))
        assert mentions.found_in(zlib.compress(whole.encode()))
        assert not Mentions([name + "-other", "-" + name]).found_in(whole.encode())


@pytest.mark.parametrize("name", IDS)
def test_an_id_is_found_as_a_string_of_avro_and_of_other_encodings(name: str) -> None:
    mentions, raw = Mentions([name]), name.encode()
    event = b"\xc3\x01" + bytes(range(8)) + zigzag_string("id-1") + b"\x02%b\x00" + zigzag_string("tail")
    assert mentions.found_in(event % zigzag_string(name))
    assert mentions.found_in(b"Z" + zigzag_string(name) + b"Z")
    length = len(raw)
    plain = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    assert mentions.found_in(b"z\x12" + plain + raw + b"zz")  # Protobuf
    assert mentions.found_in(b"z\xda" + length.to_bytes(2, "big") + raw + b"zz")  # MessagePack
    if length < 32:
        assert mentions.found_in(b"z" + bytes([0xA0 + length]) + raw + b"zz")  # MessagePack, short


@pytest.mark.parametrize(
    "raw",
    [
        b'{"user_id": 42}',
        b'{"user_id": 42.0}',
        b"42",
        b'{"user_id": 42,}',
        b"{'user_id': '42'}",
        b"{user_id: 42}",
        b"user_id=42&action=click",
        b"click,42,i1\n",
        b'{"user_id":"7"}\n{"user_id":"42"}\n',
        b'{"user_id":"42","user_id":"7"}',
        b"\xef\xbb\xbf" + b'{"user_id":"42"}',
        b'{"user_id":"42"} trailing',
        b'{"user_id":"42","score":NaN}',
        b'{"user_id":"42","query":"\xff"}',
        b'{"user_id":"42","query":"a\nb"}',
        b"[" * 100_000 + b'"42"',
        b'["x", "\\u0034\\u0032"',
        b'{\\"user_id\\":\\"\\u00342\\"}',
        gzip.compress(b"x") + gzip.compress(b'{"user_id":"42"}'),
        gzip.compress(b'{"user_id":"42"}' + bytes(random.Random(1).randbytes(10_000)))[:-500],
        b"\x78 text that begins almost as zlib does: 42",
    ],
)
def test_an_id_is_found_in_numbers_and_in_what_is_no_json(raw: bytes) -> None:
    assert Mentions(["42"]).found_in(raw)
    assert Mentions(["other", "42", "third"]).found_in(raw)
    assert not Mentions(["142", "421", "", "other"]).found_in(raw)
    assert not Mentions([]).found_in(raw)


def test_an_id_in_a_form_is_found_behind_its_percent_signs() -> None:
    assert Mentions(["ann+1@example.com"]).found_in(b"action=click&user_id=ann%2B1%40example.com&n=1")
    assert Mentions(["ann lee"]).found_in(b"user_id=ann+lee")
    assert Mentions(["é"]).found_in(b"user_id=%C3%A9")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"user_id":"ann2"}',
        b'{"user_id":"joann"}',
        b'{"user_id":"ann-marie"}',
        b'{"query":"who is ann"}',
        b'{"query":"[ann2, joann]"}',
        b'{"user_id":"ann2"',
        b"joann,click",
        b"\xc3\x01" + b"\x00" * 8 + zigzag_string("ann2") + zigzag_string("joann"),
        b'{"user_id":"Ann"}',
        b"",
        gzip.compress(b'{"user_id":"ann2"}'),
        '{"user_id":"ann2"}'.encode("utf-16"),
    ],
)
def test_an_id_that_is_only_part_of_a_value_is_not_the_user(raw: bytes) -> None:
    assert not Mentions(["ann"]).found_in(raw)


def test_a_compressed_body_that_is_damaged_or_too_large_to_look_through_is_taken_to_name_everybody() -> None:
    damaged = gzip.compress(random.Random(1).randbytes(1_000)).replace(b"\x1f\x8b\x08", b"\x1f\x8b\x77")
    assert Mentions(["ann"]).found_in(damaged)
    assert not Mentions([]).found_in(damaged)
    bomb = gzip.compress(b"0" * (32 * 2**20 + 1))
    assert Mentions(["ann"]).found_in(bomb)
    assert not Mentions([]).found_in(bomb)
    assert not Mentions(["ann"]).found_in(gzip.compress(b"0" * (32 * 2**20 - 1)))


def test_half_a_surrogate_pair_is_found_too() -> None:
    assert Mentions(["\ud83e"]).found_in(b'{"user_id":"\\ud83e"}')


def test_whatever_the_bytes_the_search_ends_with_an_answer() -> None:
    chance = random.Random(9)
    pieces = [
        b"\\u",
        b"\\",
        b'"',
        b"{",
        b"[",
        b"ann",
        b"\\ud83e",
        b"\x1f\x8b",
        b"\xff\xfe",
        b"%",
        b"%6",
        b"\x00",
        b"78",
        b",",
    ]
    mentions = Mentions(["ann", "78"])
    for _ in range(5_000):
        raw = b"".join(chance.choice(pieces) for _ in range(chance.randrange(12)))
        assert mentions.found_in(raw) in (True, False)
