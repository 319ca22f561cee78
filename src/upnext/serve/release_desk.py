"""/v1/ops/releases: what releases there are and what they say of themselves; activate one, roll back."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope

from upnext.errors import ReleaseError
from upnext.release.releases import Releases
from upnext.serve.engine import Engine
from upnext.serve.http import failure

_MOST = 50  # the newest are told of
_Made = TypeVar("_Made")


class ReleaseView(msgspec.Struct, kw_only=True):
    """One release; what is only in its manifest is empty where that cannot be read, and `problem` says why."""

    id: str
    created_ms: int = 0
    upnext: str = ""  # version that wrote it
    dataset: str = ""
    parent: str | None = None
    notes: str = ""
    parts: int = 0
    bytes: int = 0
    active: bool
    in_force: bool  # in the worker that answers; follows `active` within a second or so
    reports: dict[str, Any] = {}  # parity, calibration and others, by name, as training left them
    evaluations: dict[str, Any] = {}  # by kind, as `upnext evaluate` left them
    problem: str = ""


class ReleasesResponse(msgspec.Struct, kw_only=True):
    """The newest releases, newest first."""

    active: str | None
    before: str | None  # what a rollback makes active
    releases: list[ReleaseView]


class ReleaseActivated(msgspec.Struct, kw_only=True):
    """Which release is active now. Workers open and warm it, and serve the one before until then."""

    active: str
    before: str | None


class ReleaseEndpoints:
    """One tenant's releases over HTTP."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(self, scope: Scope, receive: Receive) -> ReleasesResponse:
        """The list, with reports."""
        live = self._engine.live
        return await _in_thread(lambda: _listed(self._engine.releases, live.release_id if live else None))

    async def activate(self, scope: Scope, receive: Receive) -> ReleaseActivated:
        """Verifies a release and makes it active. Raises `RequestError`: 404 for an unknown, 409 for a damaged one."""
        releases, release_id = self._engine.releases, scope["path_params"]["release_id"]
        if release_id not in await _in_thread(releases.ids):
            raise failure(404, "unknown_release", f"there is no release {release_id!r}; see GET /v1/ops/releases")
        return await self._changed(lambda: releases.activate(release_id).id)

    async def roll_back(self, scope: Scope, receive: Receive) -> ReleaseActivated:
        """Makes the release before active again. Raises `RequestError` 409 where there is none, or a damaged one."""
        return await self._changed(lambda: self._engine.releases.rollback().id)

    async def _changed(self, change: Callable[[], str]) -> ReleaseActivated:
        def work() -> ReleaseActivated:
            return ReleaseActivated(active=change(), before=self._engine.releases.before_id())

        try:
            return await _in_thread(work)
        except ReleaseError as error:
            raise failure(409, "release_refused", str(error)) from error


def _listed(releases: Releases, in_force: str | None) -> ReleasesResponse:
    active = releases.active_id()
    newest = releases.ids()[: -_MOST - 1 : -1]
    views = [_view(releases, each, active=each == active, in_force=each == in_force) for each in newest]
    for view in views:
        view.evaluations = releases.evaluations.of(view.id)
    return ReleasesResponse(active=active, before=releases.before_id(), releases=views)


def _view(releases: Releases, release_id: str, *, active: bool, in_force: bool) -> ReleaseView:
    try:
        manifest = releases.manifest(release_id)
    except ReleaseError as error:
        return ReleaseView(id=release_id, active=active, in_force=in_force, problem=str(error))
    return ReleaseView(
        id=release_id,
        created_ms=manifest.created_ms,
        upnext=manifest.upnext,
        dataset=manifest.dataset,
        parent=manifest.parent,
        notes=manifest.notes,
        parts=len(manifest.parts),
        bytes=sum(part.bytes for part in manifest.parts.values()),
        active=active,
        in_force=in_force,
        reports=manifest.reports,
    )


async def _in_thread(work: Callable[[], _Made]) -> _Made:
    return await asyncio.get_running_loop().run_in_executor(None, work)
