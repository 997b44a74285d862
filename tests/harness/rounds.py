"""How often a command waits for servers in sequence: its statements in rounds, as on a very long line.

An answer is held until no other statement has come for a while. So statements that are sent side by side share a
round, and one that needs an earlier answer begins the next.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from tests.harness.wire import FOREVER

if TYPE_CHECKING:
    from tests.harness.wire import Wired

# More than a login takes here: a statement over a new connection is in the round of those over the old ones.
QUIET_SECONDS = 0.5


class Rounds:
    """Counts the rounds of all databases of a world, while it is used in a `with` block.

    Logins are not counted and not held.
    """

    def __init__(self, wired: Wired) -> None:
        self._wired = wired
        self._changed = threading.Condition()
        self._last = 0.0
        self.count = 0

    def __enter__(self) -> Self:
        for wire in self._wired.wires.values():
            wire.statements.clear()
            wire.after("", self._hold, times=FOREVER)
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self._wired.wires.values():
            wire.forget()

    def _hold(self) -> None:
        with self._changed:
            this, self._last = self.count, time.monotonic()
            while self.count == this:
                left = self._last + QUIET_SECONDS - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                else:
                    self.count += 1
                    self._changed.notify_all()
