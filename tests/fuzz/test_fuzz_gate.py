"""A few thousand inputs of the fuzzer in every run of the tests, and what must hold of any bytes at all."""

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.contracts.gate import admit_events, admit_items, admit_users

NOW_MS = 1_760_000_000_000


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_gate", Path(__file__).with_name("fuzz_gate.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mangled_bodies_are_taken_or_refused_with_a_known_reason_and_nothing_else(fuzzer: ModuleType) -> None:
    counts: Counter[str] = Counter()
    for kind, content_type, body in fuzzer.inputs(6_000, 7):
        fuzzer.try_one(kind, content_type, body, counts)
    # An idle fuzzer proves nothing: it reaches nearly every reason, and good records still pass.
    assert len(set(counts) & fuzzer.REASONS) >= len(fuzzer.REASONS) - 5
    assert counts["accepted"] > 1_000
    assert counts["withheld"] > 50


@pytest.mark.parametrize("content_type", ["application/json", "avro/binary", "application/x-protobuf", ""])
@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=80))
def test_any_bytes_at_all_are_answered(content_type: str, body: bytes) -> None:
    admitted = [
        admit_events(body, content_type, now_ms=NOW_MS),
        admit_items(body, content_type),
        admit_users(body, content_type),
    ]
    for each in admitted:
        assert all(refused.raw in body for refused in each.refused)


@settings(max_examples=60, deadline=None)
@given(content_type=st.text(max_size=40))
def test_any_content_type_is_answered(content_type: str) -> None:
    body = b'{"action":"search","user_id":"u"}'
    admitted = admit_events(body, content_type, now_ms=NOW_MS)
    assert len(admitted.records) + len(admitted.refused) == 1
