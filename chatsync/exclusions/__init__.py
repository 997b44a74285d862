"""The exclusion list, from a file or a YT table."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import ExclusionList, Keep, ListVersion
from chatsync.ytsaurus import client_configuration


class ListSource(Protocol):
    """One version of the list; its rows are read by `read`."""

    version: ListVersion
    cluster: Any
    """The YT cluster of a list in a table, whose client reads in the transaction that locks it; None for a file."""

    def kind(self) -> str:
        """Return the kind of the source for a message: `a file`."""

    def warnings(self) -> list[str]:
        """Return warnings: things that work but should be changed."""

    def check_column(self) -> None:
        """Raise SourceError if the column is missing, as far as that is known without reading rows."""

    def read(self, progress: Callable[[int], None], keep: Keep | None = None) -> ExclusionList:
        """Read all rows of this version. `progress` is called with row counts, `keep` with each rejected row.

        Raises SourceError when not all of it can be read.
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
    # Late: a list in a file does not need the YT client, which takes longer to import than everything else.
    if settings.exclusions.file:
        from chatsync.exclusions.file import open_file

        return open_file(settings.exclusions, scope)
    with client_configuration():
        from chatsync.exclusions.table import open_list_table

    return open_list_table(settings.exclusions, scope)
