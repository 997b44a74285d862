"""Progress bars on standard error, shown only at a terminal."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import click

from chatsync.clean_output import terminal

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]

# With fewer rows or changes the work ends before anybody can read the bar.
_WORTH_A_BAR = 50_000


@contextmanager
def progress_bar(label: str, length: int) -> Iterator[Advance]:
    """Show the progress of `length` steps; the yielded function may be called in any thread."""
    # There is no standard error after `2>&-`.
    if sys.stderr is None or not sys.stderr.isatty() or length < _WORTH_A_BAR:
        yield _say_nothing
        return
    one_at_a_time = threading.Lock()
    with click.progressbar(length=length, label=label, file=terminal(sys.stderr)) as bar:

        def advance(steps: int) -> None:
            with one_at_a_time:
                bar.update(steps)

        yield advance


def _say_nothing(_steps: int) -> None:
    pass
