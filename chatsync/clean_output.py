"""Standard output and standard error while a command runs: without secrets, and harmless to a terminal."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from chatsync.redaction import escape_odd, without_secrets


class CleanStream:
    """A text stream that hides secrets and escapes control characters; else it is the stream behind it.

    `may_fail`: what can't be written is dropped. A command ends as it would have ended, also when
    nothing more can be said on standard error.
    """

    def __init__(self, raw: TextIO, *, may_fail: bool) -> None:
        """Write to `raw`."""
        self.raw = raw
        self._may_fail = may_fail

    def write(self, text: str) -> int:
        """Write a text, cleaned."""
        if not isinstance(text, str):
            raise TypeError(f"expected a text, got {type(text).__name__}")
        with self._forgiving():
            self.raw.write(escape_odd(without_secrets(text)))
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        with self._forgiving():
            self.raw.flush()

    def _forgiving(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.suppress(OSError) if self._may_fail else contextlib.nullcontext()

    def __getattr__(self, name: str) -> Any:
        """Pass on the attributes of the stream, except `buffer`: bytes written there would not be cleaned."""
        if name in ("buffer", "raw"):
            raise AttributeError(name)
        return getattr(self.raw, name)


@contextlib.contextmanager
def clean_output() -> Iterator[None]:
    """Clean whatever is written to standard output and standard error inside the block."""
    before = sys.stdout, sys.stderr
    if sys.stdout is not None:  # as after `>&-`
        sys.stdout = cast("TextIO", CleanStream(sys.stdout, may_fail=False))
    if sys.stderr is not None:
        sys.stderr = cast("TextIO", CleanStream(sys.stderr, may_fail=True))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def terminal(stream: TextIO) -> TextIO:
    """Return the stream behind a clean one, for what moves the cursor on purpose."""
    return cast("TextIO", getattr(stream, "raw", stream))
