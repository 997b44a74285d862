"""Standard output and standard error of a command: secrets hidden, control characters escaped."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from chatsync.redaction import escape_odd, without_secrets


def cleaned(text: str) -> str:
    """Return a text as it is written."""
    return escape_odd(without_secrets(text))


class CleanStream:
    """A wrapper of a text stream that hides secrets and escapes control characters.

    `may_fail`: text that can't be written is dropped, so that a closed standard error does not change
    how a command ends.
    """

    def __init__(self, raw: TextIO, *, may_fail: bool) -> None:
        """Write to `raw`."""
        self.raw = raw
        self._may_fail = may_fail

    def write(self, text: str) -> int:
        """Clean a text and write it."""
        if not isinstance(text, str):
            raise TypeError(f"expected a text, got {type(text).__name__}")
        with self._forgiving():
            self.raw.write(cleaned(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with self._forgiving():
            self.raw.flush()

    def _forgiving(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.suppress(OSError) if self._may_fail else contextlib.nullcontext()

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream, except `buffer`: bytes written to it would not be cleaned."""
        if name in ("buffer", "raw"):
            raise AttributeError(name)
        return getattr(self.raw, name)


@contextlib.contextmanager
def clean_output() -> Iterator[None]:
    """Clean everything that is written to standard output and standard error inside the block."""
    before = sys.stdout, sys.stderr
    if sys.stdout is not None:  # it is None after `>&-`
        sys.stdout = cast("TextIO", CleanStream(sys.stdout, may_fail=False))
    if sys.stderr is not None:
        sys.stderr = cast("TextIO", CleanStream(sys.stderr, may_fail=True))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def terminal(stream: TextIO) -> TextIO:
    """Return the stream without cleaning, for output that contains control sequences on purpose."""
    return cast("TextIO", getattr(stream, "raw", stream))
