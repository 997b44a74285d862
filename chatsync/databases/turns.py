"""Receiving the values of shards in turn, so that memory does not grow with the number of shards that are asked."""

import contextlib
import threading
from collections.abc import Iterator

# Receiving a value costs up to 15 MB and the interpreter's lock: more at once would be no quicker.
_RECEIVERS = 8
# A server that stops in the middle of its value must not keep the others waiting.
_LONGEST_WAIT_SECONDS = 5

_turns = threading.BoundedSemaphore(_RECEIVERS)


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Wait until fewer than eight values are being received, or for five seconds."""
    is_ours = _turns.acquire(timeout=_LONGEST_WAIT_SECONDS)
    try:
        yield
    finally:
        if is_ours:
            _turns.release()
