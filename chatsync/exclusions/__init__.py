"""The exclusion list, wherever it is kept."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import ExclusionList, Keep, ListVersion
from chatsync.ytsaurus import client_configuration


class ListSource(Protocol):
    """One version of the list: known at once, read on demand."""

    version: ListVersion
    cluster: Any
    """The YT cluster of a list in a table, whose client reads in the transaction that locks it; None for a file."""

    def kind(self) -> str:
        """Return what the list is kept in, in words: `a file`."""

    def warnings(self) -> list[str]:
        """Return what works but should be changed."""

    def check_column(self) -> None:
        """Raise SourceError when it can be told without a row that the column is missing."""

    def read(self, progress: Callable[[int], None], keep: Keep | None = None) -> ExclusionList:
        """Read every row of this version; `progress` is told the rows of each piece, `keep` every rejected row.

        Raises SourceError when it can't be read whole.
        """


def replace_feedback(
    settings: Settings,
    rows: Iterable[tuple[int | None, str, str]],
    attributes: Mapping[str, Any],
    scope: CancelScope,
    *,
    trial: bool = False,
) -> None:
    """Replace the table feedback.path by rows that were left out; a `trial` is taken back. Raises SourceError."""
    with client_configuration():
        from chatsync.ytsaurus.feedback import replace_table  # late, as below

    replace_table(settings, rows, attributes, scope, trial=trial)


def open_list(settings: Settings, scope: CancelScope) -> AbstractContextManager[ListSource]:
    """Open the list that the configuration names: a file, or a YT table."""
    # Late: a list in a file needs no YT client, which takes longer to import than all the rest.
    if settings.exclusions.file:
        from chatsync.exclusions.file import open_file

        return open_file(settings.exclusions, scope)
    with client_configuration():
        from chatsync.exclusions.table import open_list_table

    return open_list_table(settings.exclusions, scope)
