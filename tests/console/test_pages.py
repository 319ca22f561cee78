"""Static files have names that change with their content; templates escape whatever is put into them."""

import pytest

from upnext.console.pages import StaticFiles, templates


def test_a_file_is_found_by_its_name_with_a_hash_and_by_no_other() -> None:
    files = StaticFiles("/demo/static/", ["storefront.css", "storefront.js", "storefront.svg"])
    for name, kind in (("css", "text/css"), ("js", "text/javascript"), ("svg", "image/svg+xml")):
        url = files.url(f"storefront.{name}")
        assert url.startswith("/demo/static/storefront-")
        found = files.find(url.removeprefix("/demo/static/"))
        assert found is not None
        assert found.content_type.partition(";")[0] == kind
        assert found.content
    assert files.find("storefront.css") is None
    assert files.find("storefront-000000000000.css") is None
    assert files.find("../pages.py") is None


def test_a_file_that_is_not_there_is_noticed_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        StaticFiles("/demo/static/", ["nothing.css"])


def test_templates_escape_in_every_kind_of_file() -> None:
    assert templates().from_string("{{ text }}").render(text="<b>\"'&") == "&lt;b&gt;&#34;&#39;&amp;"
