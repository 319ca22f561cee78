"""The page for those who run a server: a shell without any data, which its script fills; knows no HTTP."""

from typing import NamedTuple

from upnext.console.pages import StaticFiles, rendered, templates

STATIC = StaticFiles("/console/static/", ("console.css", "console.js", "storefront.svg"))


class View(NamedTuple):
    """One part of the page, shown alone."""

    name: str
    title: str


VIEWS = (
    View("live", "Live"),
    View("ingest", "Ingest"),
    View("releases", "Releases"),
    View("slow", "Slow requests"),
    View("user", "One user"),
    View("request", "One request"),
)
_environment = templates()
_environment.globals |= {"static": STATIC.url, "views": VIEWS}


def page_html() -> str:
    """The whole document."""
    return rendered(_environment, "console.html")
