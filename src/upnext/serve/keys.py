"""API keys: who may ask, for what, how often, for which tenant; knows nothing of HTTP."""

import base64
import fcntl
import hashlib
import hmac
import logging
import math
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from upnext.clock import Clock
from upnext.errors import SettingsError
from upnext.store.disk import sync

KEYS_FILE = "keys.json"
DEFAULT_TENANT = "default"
# No leading dot: a tenant is also the name of a folder.
TENANT_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\Z"

Scope: TypeAlias = Literal["ingest", "recommend", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_PREFIX = b"upk_"
_ID_BYTES, _SECRET_BYTES = 5, 25  # 40 and 200 random bits; 8 and 40 characters in base 32, without padding
_ID = slice(4, 12)
_SECRET = slice(13, 53)
_NOBODY = bytes(32)  # compared with where there is no such id, so that an unknown id takes as long as a wrong secret
_log = logging.getLogger(__name__)


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key as it is kept: everything but the secret."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z2-7]{8}\Z")]
    # A fast hash is enough: the secret is 200 random bits, which nobody tries through, unlike a password.
    secret_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    tenant: Annotated[str, msgspec.Meta(pattern=TENANT_PATTERN)] = DEFAULT_TENANT
    rate_per_s: Annotated[float, msgspec.Meta(ge=0.001, le=1e6)] | None = None  # None: as often as it likes
    burst: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 1  # most at once after a pause; means nothing without a rate
    name: Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{0,100}\Z")] = ""
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None

    def is_active(self, now_ms: int) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of the file of keys; replaced whole, so no reader sees half of it."""

    keys: tuple[Key, ...] = ()


class Keys:
    """The keys in one file. Many processes may read it and change it; each change is one after the other."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Loads the keys; no file means no keys. Raises `SettingsError` for a file that is damaged or unreadable."""
        self.path = path
        self._clock = clock
        self._signature = self._stat()
        self._take(self._read())

    @property
    def empty(self) -> bool:
        """Whether there is no key at all. Revoked and expired keys count: a server must not open once they are gone."""
        return not self._by_id

    def check(self, token: bytes) -> Key | None:
        """The key that `token` is, None when it is unknown, expired or revoked. About 1 µs.

        Compares in constant time, and takes as long for an id that does not exist.
        """
        digest, key = self._by_id.get(token[_ID], (_NOBODY, None))
        same = hmac.compare_digest(hashlib.sha256(token[_SECRET]).digest(), digest)
        if not same or key is None or key.revoked_ms is not None or len(token) != _SECRET.stop or token[:4] != _PREFIX:
            return None
        if key.expires_ms is not None and self._clock.now_ms() >= key.expires_ms:
            return None
        return key

    def listed(self) -> list[Key]:
        """All keys as last loaded, oldest first, the revoked and expired among them."""
        return [key for _, key in self._by_id.values()]

    def create(
        self, scopes: Sequence[str], *, tenant: str = DEFAULT_TENANT, name: str = "", rate_per_s: float | None = None,
        burst: int | None = None, expires_ms: int | None = None,
    ) -> str:  # fmt: skip
        """A new key, durable when this returns. What is returned is shown once: only its digest is kept.

        `burst` is one second's worth where it is left out. `expires_ms` is a moment, in milliseconds since 1970.
        Raises `SettingsError` for an unknown scope, a tenant's name that cannot be one, a rate or burst out of range.
        """
        if burst is not None and rate_per_s is None:
            raise SettingsError("a burst means nothing without a rate; give a rate too, or neither")
        if burst is None:
            burst = math.ceil(rate_per_s) if rate_per_s and math.isfinite(rate_per_s) else 1
        with self._locked():
            keys = self._read()
            token = self._new_token({key.id for key in keys})
            record = {
                "id": token[_ID].decode(),
                "secret_sha256": hashlib.sha256(token[_SECRET]).hexdigest(),
                "scopes": sorted(set(scopes)),
                "tenant": tenant,
                "rate_per_s": rate_per_s,
                "burst": burst,
                "name": name,
                "created_ms": self._clock.now_ms(),
                "expires_ms": expires_ms,
            }
            try:
                key = msgspec.convert(record, Key)
            except msgspec.ValidationError as error:
                raise SettingsError(f"no such key can be made: {error}") from error
            self._replace((*keys, key))
        return token.decode()

    def revoke(self, key_id: str) -> Key:
        """The key as it is now: refused from here on, by running servers within about a second. Durable.

        One that is revoked stays as it is. Raises `SettingsError` for an unknown id.
        """
        with self._locked():
            keys = {key.id: key for key in self._read()}
            if key_id not in keys:
                known = ", ".join(keys) or "none yet"
                raise SettingsError(f"there is no key {key_id!r} in {self.path}, only: {known}")
            if keys[key_id].revoked_ms is None:
                keys[key_id] = msgspec.structs.replace(keys[key_id], revoked_ms=self._clock.now_ms())
                self._replace(tuple(keys.values()))
        return keys[key_id]

    def reload_if_changed(self) -> bool:
        """Takes what another process has changed; whether there was anything. One `stat` where there was not.

        A file that is damaged, unreadable, gone or empty changes nothing: the keys loaded before stay, and the log says
        so, once.
        """
        signature = self._stat()
        if signature == self._signature:
            return False
        self._signature = signature
        try:
            keys = self._read()
        except SettingsError as error:
            _log.error("the keys loaded before stay in force: %s", error)
            return False
        if not keys and not self.empty:
            _log.error("the keys loaded before stay in force: %s holds none any more; revoke keys instead", self.path)
            return False
        self._take(keys)
        return True

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> tuple[Key, ...]:
        advice = "put back a copy, or remove it and make new keys"
        try:
            keys = msgspec.json.decode(self.path.read_bytes(), type=_File).keys
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be read ({error.strerror}); let the user that runs the server read it"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self.path} is damaged ({error}); {advice}") from error
        if len({key.id for key in keys}) < len(keys):
            raise SettingsError(f"{self.path} is damaged (an id is there twice); {advice}")
        return keys

    def _take(self, keys: Sequence[Key]) -> None:
        self._by_id = {key.id.encode(): (bytes.fromhex(key.secret_sha256), key) for key in keys}

    def _new_token(self, taken: set[str]) -> bytes:
        while (key_id := _random_text(_ID_BYTES)) in taken:
            pass
        return f"upk_{key_id}_{_random_text(_SECRET_BYTES)}".encode()

    def _replace(self, keys: Sequence[Key]) -> None:
        """The file whole or not at all, readable by its owner alone."""
        fresh = self.path.with_name(f".{self.path.name}")
        fresh.unlink(missing_ok=True)  # left by a process that died here, perhaps with another mode
        content = msgspec.json.format(msgspec.json.encode(_File(tuple(keys))), indent=2)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        sync(fresh)
        os.replace(fresh, self.path)
        sync(self.path.parent)
        self._take(keys)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _random_text(n_bytes: int) -> str:
    return base64.b32encode(secrets.token_bytes(n_bytes)).decode().lower()
