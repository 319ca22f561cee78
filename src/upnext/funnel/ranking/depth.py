"""Which exit of a multi-exit ranker a request is given; knows nothing of clocks and of what a model computes."""

import math

from upnext.errors import SettingsError
from upnext.funnel.stages import StageCosts


class Depths:
    """The exits of one ranker. How deep a request looks is a wish, by its mode, that quality and time may cut short."""

    def __init__(self, exits: tuple[str, ...], default_exit: str, fixed: str = "") -> None:
        """`exits` from the shallowest to the deepest; `fixed`: the only one ever used, whatever the request says.

        Raises `SettingsError` when there is no such exit.
        """
        if fixed and fixed not in exits:
            raise SettingsError(
                f"ranking.exit is {fixed!r}, but the ranker has the exits {', '.join(exits)}; name one of them or none"
            )
        exits = (fixed,) if fixed else exits
        self.exits = exits
        self.costs = tuple(f"ranking:{name}" for name in exits)  # the names by which what they cost is known
        self.default = fixed or default_exit
        self._default = exits.index(self.default)
        self._wishes = {"scroll": 0, "browse": len(exits) // 2, "dwell": len(exits) - 1}

    def choose(self, mode: str, quality: float, left_ms: float, costs: StageCosts) -> int:
        """Place in `exits` of the deepest that fits into `left_ms`, not deeper than wished; -1: none fits.

        The wish: `scroll` the shallowest, `browse` the middle one (of two in the middle the deeper), `dwell` the
        deepest, else the release's default. At `quality` q only the first ⌈q·n⌉ of n exits are open, one at least.
        `costs` are told which exits were passed over for what they cost.
        """
        at = self._wished(mode, quality)
        while at >= 0 and costs.p99_ms(self.costs[at]) > left_ms:
            costs.skipped(self.costs[at])
            at -= 1
        return at

    def suffices(self, exit_name: str, mode: str, quality: float) -> bool:
        """Whether what that exit has ranked is as deep as a request of this mode wishes, at this quality."""
        return exit_name in self.exits and self.exits.index(exit_name) >= self._wished(mode, quality)

    def _wished(self, mode: str, quality: float) -> int:
        at = self._wishes.get(mode, self._default)
        return at if quality >= 1.0 else min(at, max(math.ceil(quality * len(self.exits)) - 1, 0))
