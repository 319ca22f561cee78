"""`upnext keys`: who may ask a server, for what and how often."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from upnext.cli.group import Group
from upnext.cli.options import home_option, json_option
from upnext.cli.output import hand_over
from upnext.clock import SystemClock
from upnext.errors import SettingsError
from upnext.serve.keys import DEFAULT_TENANT, KEYS_FILE, SCOPES, Key, Keys
from upnext.serve.tenants import tenants_of

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


@click.group("keys", cls=Group)
def keys_command() -> None:
    """Make, list and revoke API keys. A running server follows within about a second."""


@keys_command.command("create")
@home_option
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="May be repeated.")
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="Whose data the key reaches; no other's.")
@click.option("--name", default="", help="Whom it is for, to tell keys apart.")
@click.option("--rate", "rate_per_s", type=float, help="Requests a second over time.  [default: no limit]")
@click.option("--burst", type=int, help="Requests at once after a pause.  [default: one second's worth]")
@click.option("--expires", metavar="SPAN", help="Refuse it after a time, as in 90d, 12h or 30m.  [default: never]")
@json_option
def create_key(
    home: Path, scopes: tuple[str, ...], tenant: str, name: str, rate_per_s: float | None, burst: int | None,
    expires: str | None, json_path: Path | None,
) -> None:  # fmt: skip
    """Make a key and print it, alone, on standard output. It is shown this once.

    With --json it is in the field `token`, beside what it may do.

    \b
    Example:
      KEY=$(upnext keys create --home shop --scope recommend --rate 1000 --expires 90d)
      curl -s localhost:8080/v1/recommend -H "Authorization: Bearer $KEY" -d '{"user_id": "42"}'
    """
    clock = SystemClock()
    expires_ms = None if expires is None else clock.now_ms() + span_ms(expires)
    keys = Keys(home / KEYS_FILE, clock)
    first = keys.empty
    token = keys.create(scopes, tenant=tenant, name=name, rate_per_s=rate_per_s, burst=burst, expires_ms=expires_ms)
    key = keys.listed()[-1]
    if hand_over({"token": token, **_told(key)}, json_path):
        click.echo(token)
    remarks = [f"key {key.id} for tenant {key.tenant}: {_scopes(key)}; {_rate(key)}; {_end(key, clock.now_ms())}"]
    remarks.append("keep it now: only a digest of it is stored")
    if first:
        remarks.append("it is the first key: from now on every request needs one, but for /healthz and /readyz")
    if tenant not in tenants_of(home):
        remarks.append(
            f"{home / 'tenants' / tenant} holds no release and no log yet, so the key is refused until a server is "
            "started after that"
        )
    for remark in remarks:
        click.echo(remark, err=True)


@keys_command.command("list")
@home_option
@json_option
def list_keys(home: Path, json_path: Path | None) -> None:
    """All keys, oldest first. None shows its secret, which is not kept.

    \b
    Example:
      upnext keys list --home shop
    """
    clock = SystemClock()
    listed = Keys(home / KEYS_FILE, clock).listed()
    if not hand_over([{**_told(key), "active": key.is_active(clock.now_ms())} for key in listed], json_path):
        return
    table = Table("id", "name", "tenant", "scopes", "rate", "made", Column("state", overflow="fold"))
    for key in listed:
        made, end = _date(key.created_ms)[:10], _end(key, clock.now_ms())
        table.add_row(key.id, escape(key.name), key.tenant, _scopes(key), _rate(key), made, end)
    Console().print(table)


@keys_command.command("revoke")
@click.argument("key_id", metavar="ID")
@home_option
@json_option
def revoke_key(key_id: str, home: Path, json_path: Path | None) -> None:
    """Refuse a key from now on. ID is what stands between the first two underscores; the whole key will do.

    \b
    Example:
      upnext keys revoke 3kzq5n7a --home shop
    """
    clock = SystemClock()
    keys = Keys(home / KEYS_FILE, clock)
    whole = re.fullmatch(r"upk_([a-z2-7]{8})_.*", key_id)
    key = keys.revoke(whole.group(1) if whole else key_id)
    hand_over(_told(key), json_path)
    click.echo(
        f"key {key.id} is {_end(key, clock.now_ms())}; running servers refuse it within about a second", err=True
    )


def span_ms(text: str) -> int:
    """`90d`, `12h`, `30m`, `45s` or `2w` in milliseconds. Raises `SettingsError` for anything else."""
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if found is None or int(found.group(1)) == 0:
        raise SettingsError(f"{text!r} is no span of time; write a number and one of s, m, h, d, w, as in 90d")
    return int(found.group(1)) * _UNITS_MS[found.group(2)]


def _told(key: Key) -> dict[str, Any]:
    """A key for programs: all but the digest of its secret."""
    return {name: value for name, value in msgspec.to_builtins(key).items() if name != "secret_sha256"}


def _scopes(key: Key) -> str:
    return ", ".join(key.scopes)


def _rate(key: Key) -> str:
    return "no limit" if key.rate_per_s is None else f"{key.rate_per_s:g}/s, {key.burst} at once"


def _end(key: Key, now_ms: int) -> str:
    if key.revoked_ms is not None:
        return f"revoked since {_date(key.revoked_ms)}"
    if key.expires_ms is None:
        return "never expires"
    return f"{'expires' if key.is_active(now_ms) else 'expired'} {_date(key.expires_ms)}"


def _date(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
