"""Keys: made, kept without their secret, found again, revoked, expired, and never lost to a damaged file."""

import hashlib
import json
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from upnext.clock import ManualClock
from upnext.errors import SettingsError
from upnext.serve.keys import Key, Keys

NOW_MS = 1_760_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def keys(path: Path, clock: ManualClock) -> Keys:
    return Keys(path, clock)


def made(keys: Keys, *scopes: str, **more: Any) -> bytes:
    return keys.create(scopes or ("recommend",), **more).encode()


def test_a_key_made_is_found_again_with_all_that_was_said_of_it(keys: Keys, path: Path, clock: ManualClock) -> None:
    token = made(
        keys, "recommend", "ingest", tenant="acme", name="till", rate_per_s=2.5, burst=7, expires_ms=NOW_MS + 1
    )
    for found in (keys.check(token), Keys(path, clock).check(token)):
        assert found is not None
        assert found.id == token[4:12].decode()
        assert (found.scopes, found.tenant, found.name) == (("ingest", "recommend"), "acme", "till")
        assert (found.rate_per_s, found.burst) == (2.5, 7)
        assert (found.created_ms, found.expires_ms, found.revoked_ms) == (NOW_MS, NOW_MS + 1, None)


def test_a_key_has_a_secret_of_200_bits_and_no_two_share_anything(keys: Keys) -> None:
    tokens = [made(keys) for _ in range(50)]
    assert all(len(token) == 53 and token.startswith(b"upk_") and token[12:13] == b"_" for token in tokens)
    assert len({token[4:12] for token in tokens}) == len({token[13:] for token in tokens}) == 50
    # 40 characters of an alphabet of 32 that is used whole: 5 bits each.
    assert len(set(b"".join(token[13:] for token in tokens))) == 32


def test_the_file_holds_a_digest_of_the_secret_is_for_its_owner_alone_and_leaves_nothing_beside(
    keys: Keys, path: Path
) -> None:
    token = made(keys)
    content = path.read_bytes()
    assert token[13:] not in content
    assert json.loads(content)["keys"][0]["secret_sha256"] == hashlib.sha256(token[13:]).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {entry.name for entry in path.parent.iterdir()} == {"keys.json", ".keys.json.lock"}


def test_the_file_is_for_its_owner_alone_even_after_one_was_left_half_written(keys: Keys, path: Path) -> None:
    made(keys)
    left = path.with_name(".keys.json")
    left.write_text("{")
    left.chmod(0o666)
    made(keys)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(json.loads(path.read_bytes())["keys"]) == 2


def test_what_is_not_exactly_a_key_is_none(keys: Keys) -> None:
    token, other = made(keys), made(keys)
    wrong = [
        b"", b"upk_", token[:-1], token + b"a", b" " + token, token.upper(), token[13:],
        b"xpk_" + token[4:], b"upk_zzzzzzz9_" + token[13:],  # another beginning; an id that is not there
        token[:13] + other[13:], other[:13] + token[13:],  # the secret of another
        token[:-1] + (b"a" if token[-1:] != b"a" else b"b"), b"\xff" * 53,
    ]  # fmt: skip
    assert [found for found in map(keys.check, wrong) if found is not None] == []
    assert keys.check(token) is not None


def test_an_unknown_id_is_compared_with_something_too(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    token, compared = made(keys), []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("upnext.serve.keys.hmac.compare_digest", compare)
    keys.check(token)
    keys.check(b"upk_aaaaaaaa_" + token[13:])
    assert compared == [(32, 32)] * 2


def test_a_key_is_refused_from_the_moment_it_expires(keys: Keys, clock: ManualClock) -> None:
    token = made(keys, expires_ms=NOW_MS + 1_000)
    clock.advance(999)
    assert keys.check(token) is not None
    clock.advance(1)
    assert keys.check(token) is None
    assert [key.is_active(clock.now_ms()) for key in keys.listed()] == [False]


def test_a_revoked_key_is_refused_here_at_once_and_elsewhere_after_a_reload(
    keys: Keys, path: Path, clock: ManualClock
) -> None:
    token, kept = made(keys), made(keys)
    elsewhere = Keys(path, clock)
    clock.advance(5)
    assert keys.revoke(token[4:12].decode()).revoked_ms == NOW_MS + 5
    assert (keys.check(token), keys.check(kept) is None) == (None, False)
    assert elsewhere.check(token) is not None
    assert elsewhere.reload_if_changed()
    assert (elsewhere.check(token), elsewhere.check(kept) is None) == (None, False)


def test_revoking_again_changes_nothing_and_an_unknown_id_is_named(keys: Keys, clock: ManualClock) -> None:
    key_id = made(keys)[4:12].decode()
    keys.revoke(key_id)
    clock.advance(5)
    assert keys.revoke(key_id).revoked_ms == NOW_MS
    with pytest.raises(SettingsError, match=f"no key 'nobody'.*{key_id}"):
        keys.revoke("nobody")


def test_keys_that_are_all_revoked_are_not_no_keys(keys: Keys, path: Path, clock: ManualClock) -> None:
    assert keys.empty
    keys.revoke(made(keys)[4:12].decode())
    assert not keys.empty
    assert not Keys(path, clock).empty


def test_a_reload_is_asked_for_once_for_each_change(keys: Keys, path: Path, clock: ManualClock) -> None:
    elsewhere = Keys(path, clock)
    assert not elsewhere.reload_if_changed()
    token = made(keys)
    assert [elsewhere.reload_if_changed() for _ in range(2)] == [True, False]
    assert elsewhere.check(token) is not None
    assert not elsewhere.empty


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff", b'{"keys": [{}]}', b'{"kyes": []}',
        b'{"keys": [%(key)s, %(key)s]}', b'{"keys": [%(other_scope)s]}', b'{"keys": [%(no_scope)s]}',
    ],
)  # fmt: skip
def test_a_damaged_file_stops_the_start_and_is_not_overwritten(
    keys: Keys, path: Path, clock: ManualClock, content: bytes
) -> None:
    made(keys)
    good = json.loads(path.read_bytes())["keys"][0]
    filled = content.replace(b"%(key)s", json.dumps(good).encode())
    filled = filled.replace(b"%(other_scope)s", json.dumps({**good, "scopes": ["everything"]}).encode())
    filled = filled.replace(b"%(no_scope)s", json.dumps({**good, "scopes": []}).encode())
    path.write_bytes(filled)
    for attempt in (lambda: Keys(path, clock), lambda: made(keys), lambda: keys.revoke(good["id"])):
        with pytest.raises(SettingsError, match=r"keys\.json is damaged.*put back a copy"):
            attempt()
    assert path.read_bytes() == filled


def test_an_unreadable_file_stops_the_start(path: Path, clock: ManualClock) -> None:
    path.mkdir(parents=True)  # unreadable for everybody, as a mode would not be for root
    with pytest.raises(SettingsError, match=r"keys\.json cannot be read.*let the user that runs the server read it"):
        Keys(path, clock)


@pytest.mark.parametrize("break_it", ["damage", "remove", "empty"])
def test_a_file_that_breaks_while_running_changes_nothing_and_is_told_once(
    keys: Keys, path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture, break_it: str
) -> None:
    token = made(keys)
    running = Keys(path, clock)
    if break_it == "remove":
        path.unlink()
    else:
        path.write_text("{" if break_it == "damage" else '{"keys": []}')
    with caplog.at_level(logging.ERROR):
        assert [running.reload_if_changed() for _ in range(3)] == [False] * 3
    assert not running.empty
    assert running.check(token) is not None
    assert caplog.text.count("stay in force") == 1


def test_a_file_mended_while_running_is_taken(keys: Keys, path: Path, clock: ManualClock) -> None:
    made(keys)
    running, content = Keys(path, clock), path.read_bytes()
    path.write_text("{")
    running.reload_if_changed()
    path.write_bytes(content)
    token = made(keys)
    assert running.reload_if_changed()
    assert running.check(token) is not None


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"tenant": "a/b"}, "tenant"),
        ({"tenant": ".."}, "tenant"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a" * 65}, "tenant"),
        ({"tenant": "a\n"}, "tenant"),
        ({"name": "a\x1b[31m"}, "name"),
        ({"rate_per_s": 0}, "rate_per_s"),
        ({"rate_per_s": float("nan")}, "rate_per_s"),
        ({"rate_per_s": 1, "burst": 0}, "burst"),
        ({"burst": 5}, "without a rate"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(keys: Keys, wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        keys.create(**{"scopes": ["ingest"], **wrong})
    assert keys.empty


@pytest.mark.parametrize(("rate_per_s", "burst"), [(1_000.0, 1_000), (0.1, 1), (2.5, 3), (None, 1)])
def test_a_burst_that_is_left_out_is_one_seconds_worth(keys: Keys, rate_per_s: float | None, burst: int) -> None:
    found = keys.check(made(keys, rate_per_s=rate_per_s))
    assert found is not None
    assert found.burst == burst


def test_keys_made_at_once_are_all_kept(path: Path, clock: ManualClock) -> None:
    # Each with a file handle of its own, so that the lock between them is the one between processes.
    with ThreadPoolExecutor(4) as threads:
        tokens = list(threads.map(lambda _: Keys(path, clock).create(["ingest"]).encode(), range(24)))
    keys = Keys(path, clock)
    assert all(isinstance(keys.check(token), Key) for token in tokens)
    assert len(keys.listed()) == 24


def test_a_key_is_on_the_disk_before_it_is_shown(keys: Keys, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    replace = os.replace
    monkeypatch.setattr("upnext.serve.keys.sync", lambda synced: steps.append(f"sync {synced.name}"))
    monkeypatch.setattr(os, "replace", lambda one, other: (steps.append("replace"), replace(one, other)))
    made(keys)
    assert steps == ["sync .keys.json", "replace", "sync home"]
