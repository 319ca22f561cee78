"""Load is aimed with care, and its request bytes are whole HTTP requests."""

import json

import httptools
import pytest

from upnext.bench.target import numbered_users, parse_target, recommend_requests
from upnext.errors import SettingsError, UpnextError


@pytest.mark.parametrize(
    ("url", "aimed_at"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/recommend"),
        ("127.0.0.1:8000/", "http://127.0.0.1:8000/v1/recommend"),
        ("http://127.9.9.9", "http://127.9.9.9:80/v1/recommend"),
        ("http://[::1]:8000/shop", "http://[::1]:8000/shop/v1/recommend"),
    ],
)
def test_a_loopback_url_becomes_a_target(url: str, aimed_at: str) -> None:
    assert str(parse_target(url)) == aimed_at


@pytest.mark.parametrize("host", ["192.0.2.7", "10.0.0.1", "[2001:db8::1]", "0.0.0.0"])
def test_another_machine_is_aimed_at_only_with_permission(host: str) -> None:
    with pytest.raises(SettingsError, match="--allow-remote"):
        parse_target(f"http://{host}:80")
    assert parse_target(f"http://{host}:80", allow_remote=True).port == 80


@pytest.mark.parametrize("url", ["https://127.0.0.1", "http://", "http://127.0.0.1:port", "ftp://127.0.0.1"])
def test_what_is_not_a_plain_http_url_is_refused(url: str) -> None:
    with pytest.raises(UpnextError, match=r"http://127\.0\.0\.1:8000"):
        parse_target(url)


def test_a_prepared_request_is_one_whole_post_with_the_users_json() -> None:
    seen: dict[str, object] = {}

    class Reader:
        def on_url(self, url: bytes) -> None:
            seen["url"] = url

        def on_header(self, name: bytes, value: bytes) -> None:
            seen[name.decode().lower()] = value

        def on_body(self, body: bytes) -> None:
            seen["body"] = json.loads(body)

        def on_message_complete(self) -> None:
            seen["complete"] = True

    target = parse_target("http://[::1]:8000")
    requests = recommend_requests(target, ['zoë "quoted"', *numbered_users(2)], k=7)
    assert len(requests) == 3
    parser = httptools.HttpRequestParser(Reader())
    parser.feed_data(requests[0])
    assert parser.get_method() == b"POST"
    assert seen["complete"]
    assert seen["url"] == b"/v1/recommend"
    assert seen["host"] == b"[::1]:8000"
    assert seen["body"] == {"user_id": 'zoë "quoted"', "k": 7}
