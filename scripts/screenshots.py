"""Makes the pictures of the pages in docs/images from a running server, in a real browser.

    upnext serve --home .demo/synthetic &
    python scripts/screenshots.py http://127.0.0.1:8080

The visitor has no name, searches for a genre and chooses twice. Each picture is made to have 200 KB at most.
"""

import argparse
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
MOST_BYTES = 200_000
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
LOOKS = {
    "storefront": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "storefront_phone": {"viewport": {"width": 390, "height": 800}, "color_scheme": "light", "device_scale_factor": 2},
}


def reshaped(page: Any, do: Callable[[], object]) -> None:
    """Does something, and waits until the page has taken a new shape."""
    before = page.get_attribute("html", "data-reshaped")
    do()
    page.wait_for_selector("html[data-reshaped]" + (f':not([data-reshaped="{before}"])' if before else ""))


def visited(browser: Any, url: str, words: str, options: dict[str, Any]) -> bytes:
    """A PNG of the page after a search and two choices."""
    context = browser.new_context(reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(f"{url}/demo")
    page.wait_for_selector("html[data-ready]")
    page.fill("#words", words)
    reshaped(page, lambda: page.press("#words", "Enter"))
    for _ in range(2):
        reshaped(page, page.locator('[data-row="search"] .tile').first.click)
    reshaped(page, lambda: page.press("#words", "Escape"))
    page.evaluate("scrollTo(0, 0); document.activeElement.blur(); document.getElementById('note').textContent = ''")
    picture: bytes = page.screenshot(animations="disabled")
    context.close()
    return picture


def small(picture: bytes) -> bytes:
    """The same in as many colours as fit into `MOST_BYTES`."""
    colours = 256
    while len(picture) > MOST_BYTES and colours >= 32:
        into = BytesIO()
        Image.open(BytesIO(picture)).convert("RGB").quantize(colours).save(into, "PNG", optimize=True)
        if len(into.getvalue()) <= MOST_BYTES:
            return into.getvalue()
        colours //= 2
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="A running server with the storefront.")
    parser.add_argument("--search", default="horror", help="What the visitor looks for.")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=options.chromium, args=list(ARGUMENTS))
        for name, look in LOOKS.items():
            picture = small(visited(browser, options.url.rstrip("/"), options.search, look))
            (IMAGES / f"{name}.png").write_bytes(picture)
            print(f"docs/images/{name}.png  {len(picture):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
