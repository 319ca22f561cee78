"""Pictures for items that have none: drawn from title and genre alone, the same in every run; knows no page."""

from functools import lru_cache
from hashlib import blake2b
from math import cos, pi, sin

from markupsafe import Markup

_WIDTH, _HEIGHT = 320, 180
_MOST_KEPT = 4_096
MOST_BYTES = 700  # of one picture
# Far enough apart to be told from each other, without those that turn muddy when they are dark.
_HUES = (352, 12, 24, 148, 164, 178, 192, 206, 220, 234, 248, 262, 276, 292, 310, 332)


@lru_cache(maxsize=_MOST_KEPT)
def artwork(title: str, genre: str) -> Markup:
    """An SVG of at most `MOST_BYTES`, to be covered by a title in white. Items of a genre have about one colour.

    It holds numbers alone, nothing of the title's letters, so there is nothing in it to escape.
    """
    seed = _Seed(f"{genre}\0{title}")
    hue = (_hue_of(genre or title) + seed.below(14) - 7) % 360
    motif = _MOTIFS[seed.below(len(_MOTIFS))](seed)
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="xMidYMid slice" aria-hidden="true" '
        f'focusable="false"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="{_colour(hue, 58, 27)}"/>'
        f'<g fill="{_colour((hue + 26) % 360, 78, 52)}" fill-opacity=".62" '
        f'stroke="{_colour((hue + 338) % 360, 84, 66)}" stroke-opacity=".7" stroke-width="0">{motif}</g></svg>'
    )


class _Seed:
    """Numbers that follow from a text, one after the other."""

    def __init__(self, text: str) -> None:
        self._left = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")

    def below(self, n: int) -> int:
        """0 … n-1."""
        self._left, number = divmod(self._left, n)
        return number


def _hue_of(name: str) -> int:
    return _HUES[_Seed(name.strip().lower()).below(len(_HUES))]


def _colour(hue: int, saturation: int, lightness: int) -> str:
    return f"hsl({hue},{saturation}%,{lightness}%)"


def _sun(seed: _Seed) -> str:
    x, r = 140 + seed.below(140), 46 + seed.below(40)
    y = 40 + seed.below(80)
    return f'<circle cx="{x}" cy="{y}" r="{r}"/><circle cx="{x + 34}" cy="{y - 18}" r="{r // 3}"/>'


def _rings(seed: _Seed) -> str:
    x, y, step = 150 + seed.below(140), 20 + seed.below(120), 16 + seed.below(14)
    radii = (step * number for number in range(1, 6))
    return '<g fill="none" stroke-width="6">' + "".join(f'<circle cx="{x}" cy="{y}" r="{r}"/>' for r in radii) + "</g>"


def _bands(seed: _Seed) -> str:
    lean, width = 30 + seed.below(90), 18 + seed.below(20)
    lefts = (seed.below(40) - 20 + 70 * number for number in range(4))
    return "".join(f'<path d="M{left} 180l{lean}-180h{width}l-{lean} 180z"/>' for left in lefts)


def _hills(seed: _Seed) -> str:
    def line(base: int) -> str:
        heights = [base - seed.below(56) for _ in range(5)]
        return f"M0 180V{heights[0]}" + "".join(f"L{80 * at} {y}" for at, y in enumerate(heights)) + "V180z"

    return f'<path d="{line(110)}"/><path d="{line(160)}"/>'


def _star(seed: _Seed) -> str:
    n, x, y = 5 + seed.below(5), 150 + seed.below(120), 50 + seed.below(60)
    points = []
    for at in range(2 * n):
        reach, angle = (84, 34)[at % 2], at * pi / n
        points.append(f"{round(x + reach * sin(angle))},{round(y - reach * cos(angle))}")
    return f'<path d="M{"L".join(points)}z"/>'


def _blocks(seed: _Seed) -> str:
    lefts = [seed.below(24) + 54 * number for number in range(6)]
    tops = [30 + seed.below(110) for _ in lefts]
    return "".join(f'<path d="M{x} {y}h38v{_HEIGHT - y}h-38z"/>' for x, y in zip(lefts, tops, strict=True))


def _waves(seed: _Seed) -> str:
    rise, tops = 20 + seed.below(30), [50 + seed.below(20) + 40 * number for number in range(3)]
    paths = (f'<path d="M-20 {y}q45-{rise} 90 0t90 0 90 0 90 0"/>' for y in tops)
    return f'<g fill="none" stroke-width="{8 + seed.below(10)}">' + "".join(paths) + "</g>"


_MOTIFS = (_sun, _rings, _bands, _hills, _star, _blocks, _waves)
