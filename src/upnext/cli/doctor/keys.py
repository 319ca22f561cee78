"""Whether API keys are safe and in order; judges keys and addresses, knows nothing of secrets."""

import stat
from pathlib import Path

from upnext.cli.doctor.check import Check, ok, problem, warning
from upnext.clock import Clock
from upnext.errors import SettingsError
from upnext.serve.access import check_listen
from upnext.serve.keys import KEYS_FILE, Key, Keys

_GROUP = "keys"
_SOON_MS = 7 * 86_400_000


def check_keys(home: Path, host: str, clock: Clock) -> list[Check]:
    """Of the file of keys in `home`, for a server that listens on `host`."""
    try:
        file = Keys(home / KEYS_FILE, clock)
    except SettingsError as error:
        return [problem(_GROUP, "file", str(error), "restore it; until then no server starts")]
    keys = file.listed()
    checks = [_file(file.path), _reach(file, host)]
    return checks if not keys else [*checks, _spans(keys, clock.now_ms()), _operators(keys, clock.now_ms())]


def _file(path: Path) -> Check:
    if not path.exists():
        return ok(_GROUP, "file", "none: no key is asked for")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return problem(_GROUP, "file", f"{path} may be read by others (mode {mode:03o})", f"chmod 600 {path}")
    return ok(_GROUP, "file", f"readable by its owner only (mode {mode:03o})")


def _reach(file: Keys, host: str) -> Check:
    try:
        check_listen(host, file)
    except SettingsError as error:
        found, _, advice = str(error).rpartition("; ")
        return problem(_GROUP, "reach", found or str(error), advice or "set serve.host to an address of this machine")
    return ok(_GROUP, "reach", f"serve.host = {host}, {len(file.listed())} keys")


def _spans(keys: list[Key], now_ms: int) -> Check:
    """Keys that will be refused soon, or are so though nobody revoked them."""
    expired = [key for key in keys if key.revoked_ms is None and not key.is_active(now_ms)]
    soon = [key for key in keys if key.is_active(now_ms) and key.expires_ms and key.expires_ms - now_ms < _SOON_MS]
    if expired or soon:
        told = [f"{_names(expired)} expired"] * bool(expired) + [f"{_names(soon)} within a week"] * bool(soon)
        advice = "make new ones for those who use them (upnext keys create), revoke the others (upnext keys revoke)"
        return warning(_GROUP, "expiry", "; ".join(told), advice)
    return ok(_GROUP, "expiry", "no key expires within a week")


def _operators(keys: list[Key], now_ms: int) -> Check:
    active = [key for key in keys if key.is_active(now_ms)]
    if not any("operate" in key.scopes for key in active):
        return warning(
            _GROUP, "operate", "no key may operate, so nobody can read the metrics or the console",
            "make one: upnext keys create --home HOME --scope operate",
        )  # fmt: skip
    return ok(_GROUP, "operate", f"{len(active)} keys in force, some may operate")


def _names(keys: list[Key]) -> str:
    return ", ".join(f"{key.id} ({key.name})" if key.name else key.id for key in keys)
