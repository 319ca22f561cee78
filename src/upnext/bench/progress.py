"""A one-line bar on the terminal while load runs; deliberately plainer than elsewhere in the command line."""

import sys
from typing import TextIO

_WIDTH = 30


class ProgressLine:
    """Called from within the event loop that measures, so a redraw must take microseconds: one write, no thread.

    A bar that renders for a millisecond would show up as the server's p99.9. Silent where the output is no terminal.
    """

    def __init__(self, label: str, output: TextIO | None = None) -> None:
        self._label = label
        self._output = output or sys.stderr
        self._shown = -1

    def __call__(self, share: float, requests: int) -> None:
        """`share` of the time is gone; redraws when a whole percent has passed since the last time."""
        percent = int(share * 100)
        if percent == self._shown or not self._output.isatty():
            return
        self._shown = percent
        full = int(share * _WIDTH)
        self._output.write(f"\r{self._label} {'█' * full}{'·' * (_WIDTH - full)} {percent:3d} % {requests:,} requests")
        self._output.flush()

    def close(self) -> None:
        """Remove the line."""
        if self._shown >= 0:
            self._output.write("\r\x1b[K")
            self._output.flush()
