"""One question to a running server, for commands; knows no endpoint."""

import urllib.error
import urllib.request

import click
import msgspec

from upnext.errors import SettingsError, UpnextError

url_option = click.option(
    "--url", default="http://127.0.0.1:8080", show_default=True, envvar="UPNEXT_URL", help="Of the running server."
)
key_option = click.option("--key", envvar="UPNEXT_KEY", help="An API key, where the server asks for one.")


def ask(url: str, path: str, *, key: str | None, timeout_ms: int, body: object = None) -> bytes:
    """The reply to a GET, or with a `body` to a POST. Raises `UpnextError`: what the server said, or why it did not."""
    request = urllib.request.Request(url.rstrip("/") + path)
    if request.type not in ("http", "https"):
        raise SettingsError(f"{url!r} is not a URL of a server; give one like http://127.0.0.1:8080")
    if key:
        request.add_header("X-Api-Key", key)
    if body is not None:
        request.data = msgspec.json.encode(body)
    try:
        with urllib.request.urlopen(request, timeout=timeout_ms / 1_000) as reply:
            found: bytes = reply.read()
            return found
    except urllib.error.HTTPError as error:
        raise UpnextError(f"{url}{path} answered {error.code}: {_message(error.read())}") from error
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UpnextError(
            f"no server answers at {url} ({reason}); start one with `upnext serve`, or name its --url"
        ) from error


def _message(raw: bytes) -> str:
    try:
        return str(msgspec.json.decode(raw)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return raw[:200].decode(errors="replace")
