"""`upnext slow` shows what a server says, and says what to do where none answers."""

import http.server
import threading
from collections.abc import Iterator

import msgspec
import pytest
from click.testing import CliRunner

from upnext.cli.main import cli
from upnext.errors import UpnextError
from upnext.metrics.diary import SlowRequest
from upnext.serve.messages import SlowResponse

ENTRY = SlowRequest(
    at_ms=1_760_000_000_000, request_id="r-1", subject="u:7", surface="", tier="full", route="live", exit="exit8",
    n_interactions=12, total_ms=88.4, timing_ms={"queue": 70.25, "state": 0.5}, gc_ms=0.0, cause="queue",
)  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers.get("X-Api-Key") == "secret"
        body = msgspec.json.encode(
            SlowResponse(requests=[ENTRY]) if known else {"error": {"message": "this needs a key"}}
        )
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_table_and_json_of_the_same(url: str) -> None:
    shown = CliRunner().invoke(cli, ["slow", "--url", url, "--key", "secret"], catch_exceptions=False)
    assert [text in shown.output for text in ("88.4", "queue", "70.2", "u:7", "r-1")] == [True] * 5
    raw = CliRunner().invoke(cli, ["slow", "--url", url, "--key", "secret", "--json"], catch_exceptions=False)
    assert msgspec.json.decode(raw.output, type=SlowResponse).requests == [ENTRY]


def test_what_the_server_says_no_with_is_told(url: str) -> None:
    with pytest.raises(UpnextError, match="401: this needs a key"):
        CliRunner().invoke(cli, ["slow", "--url", url], catch_exceptions=False)


def test_without_a_server_it_says_what_to_do() -> None:
    with pytest.raises(UpnextError, match="upnext serve"):
        CliRunner().invoke(cli, ["slow", "--url", "http://127.0.0.1:9"], catch_exceptions=False)
