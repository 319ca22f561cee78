"""The items of a slate for the wire; knows nothing of how the slate came about."""

from upnext.features.spec import SOURCE_BIT, SOURCES
from upnext.funnel.answer import Slate
from upnext.funnel.live import Live
from upnext.serve.messages import SlateItem

_SOURCE_OF_BITS = [next((s for s in SOURCES if bits & SOURCE_BIT[s]), "popular") for bits in range(1 << len(SOURCES))]


def items_of(slate: Slate, live: Live, explain: bool) -> list[SlateItem]:
    """The items of a slate for the wire; with `explain` also title, genre and every source."""
    catalog = live.funnel.catalog
    item_ids, scores, bits = catalog.ids.take(slate.rows), slate.scores.tolist(), slate.sources.tolist()
    if not explain:
        return [
            SlateItem(item_id=item_id, score=score, source=_SOURCE_OF_BITS[bit])
            for item_id, score, bit in zip(item_ids, scores, bits, strict=True)
        ]
    genres = [catalog.genres[code] if code >= 0 else None for code in catalog.genre.take(slate.rows).tolist()]
    titles = catalog.titles.take(slate.rows)
    return [
        SlateItem(
            item_id=item_id,
            score=score,
            source=_SOURCE_OF_BITS[bit],
            title=title,
            genre=genre,
            sources=[source for source in SOURCES if bit & SOURCE_BIT[source]],
        )
        for item_id, score, bit, title, genre in zip(item_ids, scores, bits, titles, genres, strict=True)
    ]
