"""The console's page: a shell that holds no data, and whatever its script reaches for is there."""

import re

from upnext.console.operations import STATIC, VIEWS, page_html

PAGE = page_html()
_SCRIPT = STATIC.find(STATIC.url("console.js").rpartition("/")[2])
assert _SCRIPT is not None
SCRIPT = _SCRIPT.content.decode()


def test_all_that_the_page_asks_for_is_its_own() -> None:
    asked = re.findall(r'(?:src|href)="([^"#]+)"', PAGE)
    assert set(asked) == {"/console", *(STATIC.url(name) for name in ("console.css", "console.js", "storefront.svg"))}
    for url in asked[:3]:
        assert STATIC.find(url.rpartition("/")[2]) is not None
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", PAGE + SCRIPT)


def test_the_page_has_no_script_and_no_style_within() -> None:
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*src=)", PAGE)
    assert "innerHTML" not in SCRIPT


def test_each_part_has_a_link_a_view_and_one_heading() -> None:
    for view in VIEWS:
        assert f'href="#{view.name}"' in PAGE
        (part,) = re.findall(rf'<section class="view" id="view-{view.name}".*?</section>', PAGE, re.DOTALL)
        assert part.count("<h1") == 1


def test_every_element_that_the_script_looks_for_by_name_is_in_the_page() -> None:
    there = re.findall(r'\bid="([^"]+)"', PAGE)
    assert len(there) == len(set(there))
    wanted = set(re.findall(r'\$\("([^"]+)"\)', SCRIPT))
    assert len(wanted) > 30
    assert wanted <= set(there)


def test_every_field_and_figure_has_a_name_for_those_who_do_not_see() -> None:
    labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', PAGE))
    fields = set(re.findall(r'<(?:input|select)[^>]* id="([^"]+)"', PAGE))
    assert fields == labelled
    assert all('aria-label="' in each for each in re.findall(r'<svg[^>]*role="img"[^>]*>', PAGE))


def test_only_alerts_and_results_are_read_aloud() -> None:
    assert re.findall(r'<p id="([^"]+)"[^>]*role="alert"', PAGE) == ["alerts"]
    assert "aria-live" not in PAGE
    assert set(re.findall(r'<p id="([^"]+)"[^>]*role="status"', PAGE)) == {
        "replay-result", "release-result", "user-result", "request-result",
    }  # fmt: skip
