"""What stands before the applications: who may come in, for which tenant; knows nothing of what they answer."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from upnext.serve.access import RULES, Need, Needs, token_in
from upnext.serve.http import failure_body
from upnext.serve.keys import DEFAULT_TENANT, Key, Keys
from upnext.serve.rate_limit import RateLimiter
from upnext.serve.tenants import run_lifespans


class _Refusal(NamedTuple):
    """An answer instead of the application's."""

    why: str
    status: int
    body: bytes
    header: tuple[bytes, bytes] | None = None


class Gateway:
    """An ASGI application before those of all tenants, each of which has a home, and so data, of its own.

    As long as there is no key at all, everybody may do everything with the default tenant; `check_listen` sees to it
    that nobody but this machine can ask. With the first key, every request needs one, but for the two probes. What the
    gateway adds to a request takes 5 µs.
    """

    def __init__(
        self, apps: Mapping[str, ASGIApp], keys: Keys, limiter: RateLimiter, count_refused: Callable[[str], None],
        *, reload_s: float = 1.0,
    ) -> None:  # fmt: skip
        """`apps` by name of the tenant, `default` among them; `count_refused` hears the code of every refusal.

        Between startup and shutdown, keys changed by others are taken every `reload_s` seconds.
        """
        self._apps = dict(apps)
        self._default = self._apps[DEFAULT_TENANT]
        self._keys = keys
        self._limiter = limiter
        self._count_refused = count_refused
        self._reload_s = reload_s
        self._needs = Needs(RULES)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            admitted = self._admit(scope)
            if isinstance(admitted, _Refusal):
                self._count_refused(admitted.why)
                await _refuse(send, admitted)
            else:
                await admitted(scope, receive, send)
        elif scope["type"] == "lifespan":
            following = asyncio.create_task(self._follow_keys())
            try:
                await run_lifespans(self._apps, scope, receive, send)
            finally:
                following.cancel()
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _admit(self, scope: Connection) -> ASGIApp | _Refusal:
        """The application that answers this request, or why none does."""
        if self._keys.empty:
            return self._default
        needs = self._needs.of(scope["method"], scope["path"])
        if needs == "nothing":
            return self._default
        token = token_in(scope["headers"])
        key = self._keys.check(token) if token else None
        if key is None:
            return _unauthorized()
        app = self._apps.get(key.tenant)
        if app is None:
            return _unknown_tenant(key)
        if needs not in key.scopes and needs != "any key":
            if needs != "operate the server" or "operate" not in key.scopes:
                return _forbidden(needs)
            if key.tenant != DEFAULT_TENANT:
                return _forbidden_tenant()
        wait_s = self._limiter.allow(key)
        return app if wait_s == 0.0 else _rate_limited(key, wait_s)

    async def _follow_keys(self) -> None:
        while True:
            await asyncio.sleep(self._reload_s)
            self._keys.reload_if_changed()


def _unauthorized() -> _Refusal:
    # One sentence for all, so that nobody learns whether a key was ever there.
    message = (
        "this needs an API key that is known, not expired and not revoked, as `Authorization: Bearer upk_…` or "
        "`X-Api-Key: upk_…`; whoever runs the server makes one with `upnext keys create`"
    )
    return _Refusal("unauthorized", 401, failure_body("unauthorized", message), (b"www-authenticate", b"Bearer"))


def _forbidden(needs: Need) -> _Refusal:
    scope = "operate" if needs == "operate the server" else needs
    message = f"this needs a key with the scope `{scope}`, which yours does not have; ask for one that has"
    return _Refusal("forbidden", 403, failure_body("forbidden", message))


def _forbidden_tenant() -> _Refusal:
    message = f"this is for whoever runs the whole server: it needs the scope `operate` of tenant {DEFAULT_TENANT}"
    return _Refusal("forbidden", 403, failure_body("forbidden", message))


def _unknown_tenant(key: Key) -> _Refusal:
    message = (
        f"this server does not serve the tenant {key.tenant!r} of your key; where its home was made after the server "
        "started, start the server anew"
    )
    return _Refusal("unknown_tenant", 403, failure_body("unknown_tenant", message))


def _rate_limited(key: Key, wait_s: float) -> _Refusal:
    message = f"your key may ask {key.rate_per_s:g} times a second, {key.burst} at once; try again in {wait_s:.3f} s"
    header = (b"retry-after", b"%d" % math.ceil(wait_s))
    return _Refusal("rate_limited", 429, failure_body("rate_limited", message), header)


async def _refuse(send: Send, refusal: _Refusal) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(refusal.body))]
    if refusal.header:
        headers.append(refusal.header)
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})
