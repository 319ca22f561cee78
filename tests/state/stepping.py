"""A session encoder that can be followed by hand, and events to feed it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from upnext.domain.event import Event
from upnext.domain.identity import key_of
from upnext.state.step_input import StepInput


class CountingStepper:
    """Its hidden state is the list of places of the items it stepped over; it does not know items named `?…`."""

    def __init__(self, encoders: str = "enc") -> None:
        self.encoders = encoders
        self.steps = 0
        self.inputs: list[StepInput] = []  # all it was ever given
        self._place = {key_of(f"i{number}"): number for number in range(100)}

    def step(
        self, hidden: Sequence[np.ndarray], inputs: Sequence[StepInput]
    ) -> list[tuple[np.ndarray, np.ndarray] | None]:
        self.inputs += inputs
        return [self._step(each, one.item_key) for each, one in zip(hidden, inputs, strict=True)]

    def _step(self, hidden: np.ndarray, item_key: int) -> tuple[np.ndarray, np.ndarray] | None:
        self.steps += 1
        if item_key not in self._place:
            return None
        hidden = np.append(hidden, np.float32(self._place[item_key]))
        return hidden, np.array([hidden.sum(), len(hidden)], np.float32)


class AddingStepper:
    """Adds the item's place to its hidden state of one number, and twice as much to the session vector."""

    encoders = "adding"

    def __init__(self) -> None:
        self._place = {key_of(f"i{number}"): float(number) for number in range(100)}

    def step(
        self, hidden: Sequence[np.ndarray], inputs: Sequence[StepInput]
    ) -> list[tuple[np.ndarray, np.ndarray] | None]:
        return [
            self._step(each, self._place[one.item_key]) if one.item_key in self._place else None
            for each, one in zip(hidden, inputs, strict=True)
        ]

    def _step(self, hidden: np.ndarray, place: float) -> tuple[np.ndarray, np.ndarray]:
        after = (hidden if len(hidden) else np.zeros(1, np.float32)) + np.float32(place)
        return after, 2 * after


def event(item: str | int | None = 0, action: str = "click", ms: int = 1_000, **more: Any) -> Event:
    item_id = f"i{item}" if isinstance(item, int) else item
    defaults = {"event_id": "e", "user_id": "u", "item_id": item_id, "action": action, "timestamp_ms": ms}
    return Event(**{**defaults, **more})
