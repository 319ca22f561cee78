"""A real browser in front of a real server: Chromium, driven over its own protocol, and `upnext serve` on a free port.

Whatever a page writes to its console, throws, or asks for is collected; a test ends with `Visit.check_clean`.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, TrainedHome

CHROMIUM = Path(os.environ.get("UPNEXT_CHROMIUM", "/usr/bin/chromium"))
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_PATIENT = ("budget.contract_ms=20000", "budget.full_ms=10000", "budget.hard_stop_ms=15000")
_START_S = 120.0
WIDE, PHONE = (1280, 900), (360, 740)


@dataclass(frozen=True)
class Server:
    """One server for all tests of pages. Tests use users of their own, so that none sees what another does."""

    url: str
    home: Path

    def ask(self, path: str, body: Any = None) -> Any:
        """The answer as JSON, beside the browser."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=60) as response:
            return json.loads(response.read())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`upnext serve` over a copy of the tiny home, ready, without keys, with time enough on a busy machine."""
    home = trained_home.copy(tmp_path_factory.mktemp("browser") / "home")
    port = _free_port()
    command = [sys.executable, "-m", "upnext", "serve", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen([*command, *(word for each in _PATIENT for word in ("--set", each))])
    served = Server(f"http://127.0.0.1:{port}", home)
    try:
        _wait_until_ready(served, process)
        yield served
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(served: Server, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + _START_S
    while True:
        try:
            served.ask("/readyz")
            return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, "the server ended while it started"
            assert time.monotonic() < give_up, "the server was not ready in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")  # as long as it lives its driver has an event loop in this thread, which others need
def chromium() -> Iterator[Any]:
    """The browser; without it the tests of pages are skipped."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install the package chromium, or name one in UPNEXT_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(_ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Visit:
    """One look at the server: a page of a context of its own, and what it did."""

    page: Any
    server: Server
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)  # errors and warnings of the console, and what was thrown
    sent: list[dict[str, Any]] = field(default_factory=list)  # events posted to /v1/events
    bytes: int = 0  # of all bodies and headers that came over the wire

    def open(self, path: str) -> None:
        """Loads a page of the server, and waits until its script is ready."""
        self.page.goto(self.server.url + path)
        self.page.wait_for_selector("html[data-ready]")

    def screenshot(self, name: str) -> None:
        """Kept as build/screenshots/NAME.png."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), animations="disabled")

    def serious_findings(self) -> list[str]:
        """What axe-core finds wrong with the page as it is, of impact serious or critical, with the elements."""
        source = (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
        self.page.evaluate(source)
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['html'][:160]} ({node['failureSummary']})"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def check_clean(self) -> None:
        """Nothing was complained of, and nothing left the machine."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith((self.server.url + "/", "data:", "blob:"))] == []


VisitMaker = Callable[..., Visit]


@pytest.fixture
def visit(chromium: Any, server: Server) -> Iterator[VisitMaker]:
    """Makes visits, each in a context of its own; all are closed in the end."""
    contexts = []

    def made(size: tuple[int, int] = WIDE, **options: Any) -> Visit:
        options.setdefault("reduced_motion", "reduce")
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        visit = Visit(context.new_page(), server)
        _listen(visit, context)
        return visit

    yield made
    for context in contexts:
        context.close()


def _listen(visit: Visit, context: Any) -> None:
    page = visit.page

    def asked(request: Any) -> None:
        visit.requests.append(request.url)
        if request.url.endswith("/v1/events"):
            visit.sent.append(json.loads(request.post_data))

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            visit.complaints.append(message.text)

    page.on("request", asked)
    page.on("console", said)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.on("Network.loadingFinished", lambda event: _count(visit, event))


def _count(visit: Visit, event: dict[str, Any]) -> None:
    visit.bytes += int(event["encodedDataLength"])
