"""The door: who is let in, to which tenant, and what those hear who are not."""

import asyncio
import re
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.conftest import REPOSITORY, TrainedHome
from tests.serve.conftest import PATIENT, error_of
from upnext.clock import ManualClock, SystemClock
from upnext.errors import SettingsError
from upnext.metrics.recorder import Metrics
from upnext.serve.access import RULES, Needs, check_listen, token_in
from upnext.serve.app import create_app
from upnext.serve.engine import Engine
from upnext.serve.gateway import Gateway
from upnext.serve.http import respond
from upnext.serve.keys import SCOPES, Keys
from upnext.serve.rate_limit import RateLimiter, create_limits
from upnext.serve.tenants import tenants_of

NOW_MS = 1_760_000_000_000


async def until(condition: Callable[[], Any]) -> None:
    """Lets the event loop turn until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


class Inner:
    """An application that says its name, and what it was told of starting and stopping."""

    def __init__(self, name: str, told: list[str], fail: str = "") -> None:
        self.name, self._told, self._fail = name, told, fail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send, 200, self.name.encode(), b"text/plain")
            return
        scope["state"]["mine"] = self.name
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            self._told.append(f"{self.name} {phase}")
            if self._fail == f"{phase} raises":
                raise RuntimeError(f"{self.name} has no home")
            if self._fail == f"{phase} ends":
                return
            outcome = "failed" if self._fail == f"{phase} fails" else "complete"
            await send({"type": f"lifespan.{phase}.{outcome}", "message": "out of luck"})
            if outcome == "failed":
                return


class Door:
    """A gateway before two tenants, with all that it needs."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(NOW_MS)
        self.keys = Keys(folder / "keys.json", self.clock)
        create_limits(folder / "rates")
        self.limiter = RateLimiter(folder / "rates", self.clock)
        self.refused: Counter[str] = Counter()
        self.told: list[str] = []
        apps = {name: Inner(name, self.told) for name in ("default", "acme")}
        self.gateway = Gateway(apps, self.keys, self.limiter, lambda why: self.refused.update([why]), reload_s=0.001)

    def key(self, *scopes: str, **more: Any) -> str:
        return self.keys.create(scopes, **more)

    def ask(self, method: str, path: str, key: str | None = None, **headers: str) -> httpx.Response:
        async def inside() -> httpx.Response:
            bearer = {} if key is None else {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self.gateway), base_url="http://upnext"
            ) as client:
                return await client.request(method, path, headers=bearer | headers)

        return asyncio.run(inside())


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    door.limiter.close()


# What the issue of a key opens, told once more and by hand: method, path, what is needed.
EXPECTED = [
    ("GET", "/healthz", None),
    ("HEAD", "/readyz", None),
    ("POST", "/v1/events", "ingest"),
    ("POST", "/v1/items", "ingest"),
    ("DELETE", "/v1/items/i1", "ingest"),
    ("DELETE", "/v1/items/a/b", "ingest"),
    ("POST", "/v1/users", "ingest"),
    ("POST", "/v1/recommend", "recommend"),
    ("POST", "/v1/rank", "recommend"),
    ("GET", "/v1/popular", "recommend"),
    ("HEAD", "/v1/popular", "recommend"),
    ("GET", "/v1/items/i1/similar", "recommend"),
    ("GET", "/v1/items/a/b%0Ac/similar", "recommend"),
    ("GET", "/v1/users/u1", "operate"),
    ("DELETE", "/v1/users/u1", "operate"),
    ("GET", "/v1/deadletters", "operate"),
    ("GET", "/v1/deadletters/7", "operate"),
    ("POST", "/v1/deadletters/replay", "operate"),
    ("DELETE", "/v1/deadletters/7", "operate"),
    ("GET", "/metrics", "operate"),
    # What no rule names: other methods and paths, and what comes near to one.
    ("GET", "/v1/events", "operate"),
    ("GET", "/v1/items/i1", "operate"),
    ("GET", "/v1/items/similar", "operate"),
    ("GET", "/v1/items/i1/similar/x", "operate"),
    ("GET", "/x/v1/items/i1/similar", "operate"),
    ("POST", "/v1/items/i1/similar", "operate"),
    ("POST", "/v1/events/", "operate"),
    ("POST", "//v1/events", "operate"),
    ("POST", "/V1/events", "operate"),
    ("POST", "/v1/recommend%0A", "operate"),
    ("POST", "/healthz", "operate"),
    ("GET", "/healthz/x", "operate"),
    ("OPTIONS", "/v1/recommend", "operate"),
    ("GET", "/", "operate"),
]


@pytest.mark.parametrize(("method", "path", "needed"), EXPECTED)
def test_a_request_is_let_in_with_the_scope_it_needs_and_with_no_other(
    door: Door, method: str, path: str, needed: str | None
) -> None:
    door.key("ingest")
    assert door.ask(method, path).status_code == (200 if needed is None else 401)
    for scope in SCOPES:
        answer = door.ask(method, path, door.key(scope))
        if needed in (None, scope):
            assert answer.status_code == 200
            continue
        assert answer.status_code == 403
        if method != "HEAD":
            assert error_of(answer)["code"] == "forbidden"
            assert f"`{needed}`" in error_of(answer)["message"]


def test_a_key_may_have_all_scopes_and_any_key_may_read_the_description_of_the_server(door: Door) -> None:
    every = door.key(*SCOPES)
    assert {door.ask(method, path, every).status_code for method, path, _ in EXPECTED} == {200}
    assert [door.ask("GET", "/openapi.json", door.key(scope)).status_code for scope in SCOPES] == [200] * 3
    assert door.ask("GET", "/openapi.json").status_code == 401


def example(path: str) -> str:
    """A path of a route, with a number for each part that varies."""
    return re.sub(r"{.*?}", "7", path)


def test_every_route_of_the_application_is_named_by_a_rule(tmp_path: Path) -> None:
    engine = Engine(tmp_path, PATIENT, SystemClock(), Metrics())
    routes = {(method, route.path) for route in create_app(engine, Metrics()).routes for method in route.methods}
    asyncio.run(engine.close())
    assert len(routes) > 10
    needs = Needs(RULES)
    assert not {route for route in routes if needs.named(route[0], example(route[1])) is None}
    # The other way round: a rule whose route is gone goes too. Dead letters are named whole, with all below them.
    patterns = {(method, re.sub(r"{.*?}", "{}", path)) for method, path in routes}
    rules = {(rule.method, re.sub(r"{.*?}", "{}", rule.path)) for rule in RULES if "deadletters/" not in rule.path}
    assert rules <= patterns


def test_the_page_on_keys_tells_the_rules(door: Door) -> None:
    page = (REPOSITORY / "docs" / "keys.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]+) (/\S*)` \| (.+?) \|$", page, re.MULTILINE)
    words = {"nothing": "no key", "operate the server": "`operate`, tenant `default`", "any key": "any key"}
    assert [*rows] == [(rule.method, rule.path, words.get(rule.needs, f"`{rule.needs}`")) for rule in RULES]


def test_without_any_key_everything_is_open_and_goes_to_the_default_tenant(door: Door) -> None:
    assert {door.ask(method, path).text for method, path, _ in EXPECTED if method != "HEAD"} == {"default"}
    assert door.ask("POST", "/v1/recommend", "upk_whatever").status_code == 200


def test_once_all_keys_are_revoked_nothing_is_open(door: Door) -> None:
    key = door.key(*SCOPES)
    door.keys.revoke(key[4:12])
    assert door.ask("POST", "/v1/recommend", key).status_code == 401
    assert door.ask("POST", "/v1/recommend").status_code == 401
    assert door.ask("GET", "/healthz").status_code == 200


def test_missing_unknown_expired_and_revoked_keys_hear_the_same(door: Door) -> None:
    revoked, expired = door.key("recommend"), door.key("recommend", expires_ms=NOW_MS + 1)
    door.keys.revoke(revoked[4:12])
    door.clock.advance(1)
    heard = []
    for key in (None, "", "nonsense", "upk_aaaaaaaa_" + 40 * "a", revoked, expired, revoked[:-1]):
        answer = door.ask("POST", "/v1/recommend", key)
        error = error_of(answer)
        error.pop("request_id")
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        heard.append((answer.status_code, error, headers))
    assert [one for one in heard if one != heard[0]] == []
    assert heard[0][0] == 401
    assert heard[0][1]["code"] == "unauthorized"
    assert heard[0][2]["www-authenticate"] == "Bearer"
    assert door.refused == {"unauthorized": len(heard)}


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([(b"authorization", b"Bearer upk_a")], b"upk_a"),
        ([(b"authorization", b"bearer   upk_a ")], b"upk_a"),
        ([(b"x-api-key", b" upk_a ")], b"upk_a"),
        ([(b"authorization", b"Basic dXNlcg=="), (b"x-api-key", b"upk_a")], b"upk_a"),
        ([(b"authorization", b"Bearerupk_a")], None),
        ([(b"authorization", b"upk_a")], None),
        ([(b"authorization", b"Bearer ")], b""),
        ([(b"x-api-key", b"upk_a"), (b"authorization", b"Bearer upk_b")], b"upk_a"),
        ([(b"cookie", b"upk_a"), (b"x-api-keys", b"upk_b")], None),
    ],
)
def test_a_key_is_read_from_either_header(headers: list[tuple[bytes, bytes]], token: bytes | None) -> None:
    assert token_in(headers) == token


def test_either_header_opens_the_door(door: Door) -> None:
    key = door.key("recommend")
    assert door.ask("POST", "/v1/recommend", key).text == "default"
    assert door.ask("POST", "/v1/recommend", **{"X-Api-Key": key}).text == "default"


def test_a_key_leads_to_its_tenant_and_nothing_in_the_request_leads_elsewhere(door: Door) -> None:
    ours, theirs = door.key("recommend"), door.key("recommend", tenant="acme")
    assert [door.ask("POST", "/v1/recommend", key).text for key in (ours, theirs)] == ["default", "acme"]
    assert door.ask("POST", "/v1/recommend?tenant=acme", ours, Tenant="acme", Host="acme").text == "default"
    # Probes ask for the server, whoever they are.
    assert door.ask("GET", "/readyz", theirs).text == "default"


def test_what_tells_of_all_tenants_is_for_operators_of_the_default_tenant(door: Door) -> None:
    theirs = door.key(*SCOPES, tenant="acme")
    assert door.ask("GET", "/v1/users/u1", theirs).text == "acme"
    # Neither by its name nor by one that routing takes for it.
    for path in ("/metrics", "/metrics%0A", "/nobody-knows"):
        answer = door.ask("GET", path, theirs)
        assert (answer.status_code, error_of(answer)["code"]) == (403, "forbidden")
        assert "tenant default" in error_of(answer)["message"]
    assert door.ask("GET", "/metrics", door.key("operate")).text == "default"


def test_a_key_of_a_tenant_that_is_not_served_is_told_so(door: Door) -> None:
    answer = door.ask("POST", "/v1/recommend", door.key("recommend", tenant="gone"))
    assert (answer.status_code, error_of(answer)["code"]) == (403, "unknown_tenant")
    assert "'gone'" in error_of(answer)["message"]
    assert door.refused == {"unknown_tenant": 1}


def test_past_its_rate_a_key_hears_when_to_come_back_and_others_go_on(door: Door) -> None:
    slow, other = door.key("recommend", rate_per_s=0.4, burst=2), door.key("recommend", rate_per_s=0.4)
    answers = [door.ask("POST", "/v1/recommend", slow) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "3"  # 2.5 s, in whole seconds
    assert error_of(answers[2])["code"] == "rate_limited"
    assert "2.500 s" in error_of(answers[2])["message"]
    assert door.ask("POST", "/v1/recommend", other).status_code == 200
    door.clock.advance(2_499)
    assert door.ask("POST", "/v1/recommend", slow).headers["retry-after"] == "1"
    door.clock.advance(1)
    assert door.ask("POST", "/v1/recommend", slow).status_code == 200
    assert door.refused == {"rate_limited": 2}


def test_what_is_forbidden_takes_nothing_of_the_rate(door: Door) -> None:
    key = door.key("recommend", rate_per_s=1)
    assert {door.ask("POST", "/v1/events", key).status_code for _ in range(5)} == {403}
    assert [door.ask("POST", "/v1/recommend", key).status_code for _ in range(2)] == [200, 429]
    assert door.refused == {"forbidden": 5, "rate_limited": 1}


def test_a_refusal_reads_nothing_of_the_body(door: Door) -> None:
    door.key("recommend")
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/recommend", "headers": []}
    asyncio.run(door.gateway(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_a_websocket_is_closed(door: Door) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(door.gateway({"type": "websocket", "path": "/"}, asyncio.Queue().get, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


class Life:
    """A server's side of the lifespan protocol."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._to: asyncio.Queue[Message] = asyncio.Queue()
        self._from: asyncio.Queue[Message] = asyncio.Queue()
        self.running = asyncio.create_task(
            app({"type": "lifespan", "state": self.state}, self._to.get, self._from.put)  # type: ignore[arg-type]
        )

    async def __call__(self, phase: str) -> Message:
        await self._to.put({"type": f"lifespan.{phase}"})
        return await asyncio.wait_for(self._from.get(), 30)


@asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[Life]:
    life = Life(app)
    assert await life("startup") == {"type": "lifespan.startup.complete"}
    try:
        yield life
    finally:
        assert await life("shutdown") == {"type": "lifespan.shutdown.complete"}
        await asyncio.wait_for(life.running, 30)


def test_all_applications_start_and_stop_the_last_first(door: Door) -> None:
    async def inside() -> None:
        async with living(door.gateway) as life:
            assert door.told == ["default startup", "acme startup"]
        assert door.told[2:] == ["acme shutdown", "default shutdown"]
        assert life.state == {}  # what one application keeps there is no other's

    asyncio.run(inside())


@pytest.mark.parametrize(
    ("fail", "why"),
    [("startup raises", "b has no home"), ("startup fails", "out of luck"), ("startup ends", "without a word")],
)
def test_where_one_application_does_not_start_those_before_it_stop_and_none_after_it_starts(
    door: Door, fail: str, why: str
) -> None:
    told: list[str] = []

    async def inside() -> None:
        apps = {"default": Inner("a", told), "acme": Inner("b", told, fail), "zeta": Inner("c", told)}
        life = Life(Gateway(apps, door.keys, door.limiter, str))
        answer = await life("startup")
        await asyncio.wait_for(life.running, 30)
        assert answer["type"] == "lifespan.startup.failed"
        assert "tenant acme" in answer["message"]
        assert why in answer["message"]
        assert told == ["a startup", "b startup", "a shutdown"]

    asyncio.run(inside())


@pytest.mark.parametrize("fail", ["shutdown raises", "shutdown fails", "shutdown ends"])
def test_where_one_application_does_not_stop_the_others_do_and_it_is_told(door: Door, fail: str) -> None:
    told: list[str] = []

    async def inside() -> None:
        apps = {"default": Inner("a", told), "acme": Inner("b", told, fail)}
        life = Life(Gateway(apps, door.keys, door.limiter, str))
        await life("startup")
        answer = await life("shutdown")
        await asyncio.wait_for(life.running, 30)
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "tenant acme" in answer["message"]
        assert told[2:] == ["b shutdown", "a shutdown"]

    asyncio.run(inside())


def test_keys_made_and_revoked_by_others_are_followed_while_it_runs_and_no_longer(door: Door) -> None:
    async def inside() -> None:
        elsewhere = Keys(door.keys.path, door.clock)
        async with living(door.gateway):
            token = elsewhere.create(["recommend"])
            await until(lambda: door.keys.check(token.encode()))
            elsewhere.revoke(token[4:12])
            await until(lambda: not door.keys.check(token.encode()))
        assert len(asyncio.all_tasks()) == 1  # this one

    asyncio.run(inside())


@pytest.fixture
def port(door: Door) -> Iterator[int]:
    """A real server before the door, on a socket that listens already."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(door.gateway, lifespan="off", loop="uvloop", http="httptools", ws="none", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield int(listening.getsockname()[1])
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def answers_on(connection: socket.socket, count: int) -> list[bytes]:
    """Status lines of so many answers, each of which says how long it is."""
    stream, found = connection.makefile("rb"), []
    for _ in range(count):
        found.append(stream.readline().strip())
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b": ")
            length = int(value) if name.lower() == b"content-length" else length
        stream.read(length)
    stream.close()
    return found


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("kind", ["whole", "chunked"])
def test_a_connection_goes_on_after_a_refusal_whose_body_nobody_read(
    door: Door, port: int, kind: str, size: int
) -> None:
    key = door.key("recommend").encode()
    body = b"x" * size
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: upnext\r\n"
    if kind == "whole":
        refused = head + b"content-length: %d\r\n\r\n%b" % (size, body)
    else:
        refused = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    good = head + b"x-api-key: %b\r\ncontent-length: 2\r\n\r\n{}" % key
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(refused + good + refused + good)
        assert answers_on(connection, 4) == [b"HTTP/1.1 401 Unauthorized", b"HTTP/1.1 200 OK"] * 2


def addresses(*found: str) -> Callable[..., Any]:
    return lambda host, port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "127.1"])
def test_without_keys_a_server_may_listen_to_its_own_machine(door: Door, host: str) -> None:
    check_listen(host, door.keys)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.4", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "0"]
)
def test_without_keys_a_server_may_not_listen_to_others_and_with_one_it_may(door: Door, host: str) -> None:
    with pytest.raises(
        SettingsError, match=rf"upnext keys create --home {door.keys.path.parent}.*listen on 127\.0\.0\.1"
    ):
        check_listen(host, door.keys)
    door.key("recommend")
    check_listen(host, door.keys)


def test_a_name_is_as_good_as_all_its_addresses(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", addresses("127.0.0.1", "::1"))
    check_listen("localhost", door.keys)
    monkeypatch.setattr(socket, "getaddrinfo", addresses("127.0.0.1", "192.168.1.4"))
    with pytest.raises(SettingsError, match=r"reach shop\.example \(192\.168\.1\.4\)"):
        check_listen("shop.example", door.keys)

    def unknown(host: str, port: None) -> Any:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SettingsError, match=r"'shop\.example' has no address"):
        check_listen("shop.example", door.keys)


def test_tenants_are_the_home_and_the_folders_under_it_that_hold_something(tmp_path: Path) -> None:
    assert tenants_of(tmp_path) == {"default": tmp_path}
    (tmp_path / "tenants" / "b.2" / "log").mkdir(parents=True)
    (tmp_path / "tenants" / "a-1" / "releases").mkdir(parents=True)
    (tmp_path / "tenants" / "empty").mkdir()
    (tmp_path / "tenants" / ".hidden" / "log").mkdir(parents=True)
    (tmp_path / "tenants" / "a file").touch()
    assert list(tenants_of(tmp_path)) == ["default", "b.2"]  # no release of the other is active
    (tmp_path / "tenants" / "a-1" / "releases" / "active.json").touch()
    folder = tmp_path / "tenants"
    assert tenants_of(tmp_path) == {"default": tmp_path, "a-1": folder / "a-1", "b.2": folder / "b.2"}


@pytest.mark.parametrize("name", ["default", "a b", "é", "a" * 65])
def test_a_folder_that_cannot_be_a_tenants_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "tenants" / name / "log").mkdir(parents=True)
    with pytest.raises(SettingsError, match=f"tenants/{name} cannot be a tenant"):
        tenants_of(tmp_path)


@asynccontextmanager
async def served(door: Door, homes: Mapping[str, Path]) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Engine]]]:
    """Real applications of all tenants behind one gateway."""
    metrics = Metrics()
    engines = {name: Engine(home, PATIENT, SystemClock(), metrics, tenant=name) for name, home in homes.items()}
    apps = {name: create_app(engine, metrics) for name, engine in engines.items()}
    gateway = Gateway(apps, door.keys, door.limiter, metrics.count_refused)
    async with living(gateway):
        transport = httpx.ASGITransport(gateway, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://upnext") as client:
            yield client, engines


def test_tenants_cannot_see_each_others_events_or_state(door: Door, trained_home: TrainedHome, tmp_path: Path) -> None:
    home = trained_home.copy(tmp_path / "home")
    trained_home.copy(home / "tenants" / "acme")
    headers = {
        name: {"Authorization": f"Bearer {door.key('ingest', 'recommend', tenant=name)}"}
        for name in ("default", "acme")
    }

    async def inside() -> None:
        async with served(door, tenants_of(home)) as (client, engines):

            async def version(tenant: str, user: str) -> int:
                answer = await client.post("/v1/recommend", json={"user_id": user}, headers=headers[tenant])
                assert (answer.status_code, len(answer.json()["items"])) == (200, 20)
                return int(answer.json()["state_version"])

            # Users, items and event ids of the same names, in both.
            event = {"event_id": "e1", "action": "click", "user_id": "u-new", "item_id": "i00003"}
            before = {name: engine.event_log.last() for name, engine in engines.items()}
            posted = await client.post("/v1/events", json=event, headers=headers["acme"])
            assert posted.json()["accepted"] == 1
            assert [await version(name, "u-new") for name in ("acme", "default")] == [1, 0]
            grown = {name: engine.event_log.last() - before[name] for name, engine in engines.items()}
            assert grown == {"default": 0, "acme": 1}
            posted = await client.post("/v1/events", json=event, headers=headers["default"])
            assert (posted.json()["accepted"], posted.json()["duplicates"]) == (1, 0)
            await client.post("/v1/events", json={**event, "event_id": "e2"}, headers=headers["default"])
            assert [await version(name, "u-new") for name in ("acme", "default")] == [1, 2]

    asyncio.run(inside())
