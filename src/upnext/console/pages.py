"""Templates and static files of the package, ready to be sent; knows no page and no HTTP."""

import mimetypes
from collections.abc import Iterable
from hashlib import sha256
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

# Whatever a page needs comes from the server itself, and nothing that is written into a page is ever run.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
_DIGITS = 12


class StaticFile(NamedTuple):
    """A file as it is sent."""

    content: bytes
    content_type: str


class StaticFiles:
    """Files of `console/static` under names that change with what is in them, so that they may be kept for ever."""

    def __init__(self, prefix: str, names: Iterable[str]) -> None:
        """`prefix`: the path before a name, with a slash at its end. Raises `FileNotFoundError` for an unknown name."""
        folder = resources.files(__package__) / "static"
        self._urls: dict[str, str] = {}
        self._files: dict[str, StaticFile] = {}
        for name in names:
            content = (folder / name).read_bytes()
            stem, dot, suffix = name.rpartition(".")
            hashed = f"{stem}-{sha256(content).hexdigest()[:_DIGITS]}{dot}{suffix}"
            self._urls[name] = prefix + hashed
            self._files[hashed] = StaticFile(content, _type_of(name))

    def url(self, name: str) -> str:
        """The path by which a file is asked for. Raises `KeyError` for a name that was not given."""
        return self._urls[name]

    def find(self, hashed: str) -> StaticFile | None:
        """The file of a name with its hash; None for an unknown one, of another version too."""
        return self._files.get(hashed)


def _type_of(name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    kind = "text/javascript" if name.endswith(".js") else kind
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def templates() -> Environment:
    """The templates of `console/templates`: all that is put in is escaped, and a missing name is an error."""
    return Environment(
        loader=PackageLoader("upnext.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def rendered(environment: Environment, template: str, **values: Any) -> str:
    """The HTML of a template."""
    return environment.get_template(template).render(**values)
