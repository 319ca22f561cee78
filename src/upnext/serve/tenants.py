"""The tenants of one server: where their homes are, and their applications started and stopped as one."""

import asyncio
import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from upnext.errors import SettingsError
from upnext.serve.keys import DEFAULT_TENANT, TENANT_PATTERN
from upnext.settings import StoreSettings


def tenants_of(home: Path) -> dict[str, Path]:
    """Name and home of every tenant: `default` is `home` itself, the others are in HOME/tenants, in order of names.

    A folder there is a tenant once it has an active release or a log. Raises `SettingsError` for one whose name cannot
    be a tenant's.
    """
    tenants = {DEFAULT_TENANT: home}
    folder = home / "tenants"
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.name.startswith(".") or not _is_home(entry):
            continue
        if entry.name == DEFAULT_TENANT or not re.match(TENANT_PATTERN, entry.name):
            raise SettingsError(
                f"{entry} cannot be a tenant: a name is 1 to 64 of A-Z, a-z, 0-9, _, - and ., without a dot in front, "
                f"and {DEFAULT_TENANT!r} is {home} itself; rename or remove the folder"
            )
        tenants[entry.name] = entry
    return tenants


def store_settings_of(tenant: str, settings: StoreSettings) -> StoreSettings:
    """Tenants that share a Redis have keys of their own."""
    if tenant == DEFAULT_TENANT:
        return settings
    return msgspec.structs.replace(settings, prefix=f"{settings.prefix}@{tenant}")


def _is_home(folder: Path) -> bool:
    return (folder / "releases" / "active.json").is_file() or (folder / "log").is_dir()


async def run_lifespans(apps: Mapping[str, ASGIApp], scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI lifespan of all applications as one: started one after the other, stopped in the opposite order.

    Where one fails to start, those before it are stopped, and the whole has failed. All are stopped, even if one fails.
    """
    await receive()
    started: list[tuple[str, _Lifespan]] = []
    for tenant, app in apps.items():
        lifespan = _Lifespan(app, scope)
        failure = await lifespan.pass_on("startup")
        if failure is not None:
            await _stop(reversed(started))
            await send({"type": "lifespan.startup.failed", "message": f"tenant {tenant}: {failure}"})
            return
        started.append((tenant, lifespan))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    failures = await _stop(reversed(started))
    if failures:
        await send({"type": "lifespan.shutdown.failed", "message": "\n".join(failures)})
    else:
        await send({"type": "lifespan.shutdown.complete"})


async def _stop(started: Iterable[tuple[str, "_Lifespan"]]) -> list[str]:
    """Stops each; what went wrong, by tenant."""
    failures = [(tenant, await lifespan.pass_on("shutdown")) for tenant, lifespan in started]
    return [f"tenant {tenant}: {failure}" for tenant, failure in failures if failure is not None]


class _Lifespan:
    """One application's side of the protocol, in a task of its own."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._running = asyncio.create_task(self._run(app, {**scope, "state": {}}))  # none is shared between tenants

    async def pass_on(self, phase: str) -> str | None:
        """Tells the application of `startup` or `shutdown`; None once it is complete, else what went wrong."""
        await self._told.put({"type": f"lifespan.{phase}"})
        answer = await self._heard.get()
        complete = answer["type"] == f"lifespan.{phase}.complete"
        if phase == "shutdown" or not complete:
            await self._running
        return None if complete else answer.get("message") or f"its {phase} failed without a word"

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        message = ""
        try:
            await app(scope, self._told.get, self._heard.put)
        except Exception:
            message = traceback.format_exc()
        # Heard only where the application ended without an answer of its own.
        await self._heard.put({"type": "lifespan.ended", "message": message})
