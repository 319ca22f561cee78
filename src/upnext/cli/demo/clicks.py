"""One user's slate before and after three clicks."""

from collections import Counter
from typing import Any

from rich.table import Table

from upnext.cli.demo.client import ServerClient

_CLICKS = 3
_K = 10


def three_clicks(client: ServerClient, user_id: str, genres: list[str]) -> tuple[Table, float]:
    """The user clicks three items of a genre they were not shown much of; the slates side by side, and milliseconds
    from the last acknowledged click to the new slate, as the server tells them."""
    before = client.recommend(user_id, _K)
    shown = Counter(item.get("genre") for item in before["items"])
    genre = min(genres, key=lambda name: (shown[name], genres.index(name)))
    seen = {item["item_id"] for item in before["items"]}
    clicked = [item for item in client.popular(genre, _CLICKS + _K)["items"] if item["item_id"] not in seen][:_CLICKS]
    for item in clicked:
        client.click(user_id, item["item_id"])
    after = client.recommend(user_id, _K)
    table = Table(
        title=f"user {user_id}: before and after clicking "
        + ", ".join(f"“{_name(item)}”" for item in clicked)
        + f" ({genre})"
    )
    for side, slate in (("before", before), ("after", after)):
        count = sum(item.get("genre") == genre for item in slate["items"])
        table.add_column(f"{side}: {count} of {_K} {genre} (tier {slate['tier']})", overflow="fold")
    for left, right in zip(before["items"], after["items"], strict=False):
        table.add_row(*(_cell(item, genre) for item in (left, right)))
    return table, float(after["timing_ms"]["total"])


def _name(item: dict[str, Any]) -> str:
    return str(item.get("title") or item["item_id"])


def _cell(item: dict[str, Any], genre: str) -> str:
    text = f"{_name(item)} · {item.get('genre', '–')} · {item['source']}"
    return f"[bold green]{text}[/bold green]" if item.get("genre") == genre else text
