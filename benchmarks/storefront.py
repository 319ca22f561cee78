"""How long from a click on the storefront until the re-shaped page is on the screen, in a real browser?

Asks a running server. A visitor opens the page and chooses one card after the other; what is measured is the page's own
measure `reshape`: from the click to the frame after the new page was put in, event and page requests included. Then, in
visits of their own, the first contentful paint, and the bytes that came over the wire.

    upnext serve --home shop &
    python benchmarks/storefront.py http://127.0.0.1:8080 --clicks 200 --markdown storefront.md
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import msgspec

from upnext.bench.machine import Machine, this_machine

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE = {"width": 1280, "height": 900}
_RESHAPED = "performance.getEntriesByName('reshape').map(entry => entry.duration)"
_PAINTED = """new Promise(done => new PerformanceObserver(list => {
    const [paint] = list.getEntriesByName("first-contentful-paint");
    if (paint) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""


class Figures(msgspec.Struct, frozen=True):
    """What was measured, times in ms."""

    machine: Machine
    browser: str
    clicks: int
    reshape_p50_ms: float
    reshape_p95_ms: float
    reshape_max_ms: float
    paint_p50_ms: float
    paint_max_ms: float
    page_bytes: int
    reshape_bytes: int  # of one answer with its headers


def measured(browser: Any, url: str, clicks: int, visits: int, per_visit: int) -> Figures:
    """Clicks in visits of `per_visit` each, so that nobody chooses the whole catalogue; then `visits` first looks."""
    times: list[float] = []
    reshape_bytes: list[int] = []
    while len(times) < clicks:
        times += clicked(browser, url, min(per_visit, clicks - len(times)), reshape_bytes)
    looks = [looked(browser, url) for _ in range(visits)]
    times.sort()
    return Figures(
        machine=this_machine(),
        browser=browser.version,
        clicks=len(times),
        reshape_p50_ms=statistics.median(times),
        reshape_p95_ms=nearest_rank(times, 0.95),
        reshape_max_ms=times[-1],
        paint_p50_ms=statistics.median(painted for painted, _ in looks),
        paint_max_ms=max(painted for painted, _ in looks),
        page_bytes=max(size for _, size in looks),
        reshape_bytes=max(reshape_bytes, default=0),
    )


def nearest_rank(ordered: list[float], share: float) -> float:
    """The percentile of a sorted list, by nearest rank."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def clicked(browser: Any, url: str, clicks: int, sizes: list[int]) -> list[float]:
    """The milliseconds of each of so many choices of one new visitor."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.on("response", lambda response: note_size(response, sizes))
    page.goto(f"{url}/demo")
    page.wait_for_selector("html[data-ready]")
    for _ in range(clicks):
        number = int(page.get_attribute("html", "data-reshaped") or 0)
        cards = page.locator('[data-row="next"] .tile')
        cards.nth(number % min(4, cards.count())).click()
        before = f':not([data-reshaped="{number}"])' if number else ""
        page.wait_for_selector(f"html[data-reshaped]{before}")
    times = [float(each) for each in page.evaluate(_RESHAPED)]
    context.close()
    return times


def note_size(response: Any, sizes: list[int]) -> None:
    """Adds the length of a page that was asked for anew."""
    if response.url.endswith("/demo/page"):
        sizes.append(int(response.headers.get("content-length", 0)))


def looked(browser: Any, url: str) -> tuple[float, int]:
    """First contentful paint in ms, and all bytes, of one visit with an empty cache."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    wire, sizes = context.new_cdp_session(page), [0]
    wire.send("Network.enable")
    wire.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    page.goto(f"{url}/demo")
    painted_ms = float(page.evaluate(_PAINTED))
    context.close()
    return painted_ms, sum(sizes)


def markdown(figures: Figures) -> str:
    """A page with the figures."""
    machine = ", ".join(f"{name} {value}" for name, value in msgspec.to_builtins(figures.machine).items())
    rows = [
        ("click → re-shaped page visible, p50", f"{figures.reshape_p50_ms:.0f} ms", ""),
        ("click → re-shaped page visible, p95", f"{figures.reshape_p95_ms:.0f} ms", "≤ 150 ms"),
        ("click → re-shaped page visible, longest", f"{figures.reshape_max_ms:.0f} ms", ""),
        ("first contentful paint, median", f"{figures.paint_p50_ms:.0f} ms", "≤ 500 ms"),
        ("first contentful paint, longest", f"{figures.paint_max_ms:.0f} ms", ""),
        ("first look, all that is transferred", f"{figures.page_bytes / 1_000:.0f} KB", "≤ 300 KB"),
        ("one re-shaping, the page's part", f"{figures.reshape_bytes / 1_000:.0f} KB", ""),
    ]
    table = "\n".join(f"| {name} | {value} | {wanted} |" for name, value, wanted in rows)
    return (
        f"# Storefront in the browser\n\nMade by `python benchmarks/storefront.py`, {figures.clicks} clicks, Chromium "
        f"{figures.browser}.\n\n| | measured | to reach |\n|---|---|---|\n{table}\n\n{machine}\n"
    )


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="A running server with the storefront, http://127.0.0.1:8080.")
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--per-visit", type=int, default=20, help="Clicks of one visitor.")
    parser.add_argument("--visits", type=int, default=10, help="First looks.")
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(options.chromium), args=list(ARGUMENTS))
        found = measured(browser, options.url.rstrip("/"), options.clicks, options.visits, options.per_visit)
        browser.close()
    print(markdown(found))
    if options.markdown:
        options.markdown.write_text(markdown(found), "utf-8")
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


if __name__ == "__main__":
    main()
