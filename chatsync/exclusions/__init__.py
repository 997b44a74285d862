"""The exclusion list, from a file or a YT table, and what belongs to it in its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from chatsync.exclusions.file import open_file
from chatsync.parallel import Later
from chatsync.progress import progress_bar
from chatsync.ytsaurus import client_configuration

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from chatsync.cancel_scope import CancelScope
    from chatsync.config.settings import Settings
    from chatsync.core import ExclusionList, Keep, ListVersion
    from chatsync.exclusions.table import ClusterSide


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


def open_list(settings: Settings, scope: CancelScope) -> AbstractContextManager[ListSource]:
    """Open the list that the configuration names: a file, or a YT table."""
    if settings.exclusions.file:
        return open_file(settings.exclusions, scope)
    return cluster_side(settings, scope).open_list()


def read_list(
    source: ListSource, keep: Keep | None = None, *, heard: Callable[[int], None] | None = None
) -> ExclusionList:
    """Read all rows of the list with a progress bar at a terminal; `heard` is told as well how many have come."""
    with progress_bar("reading the list", source.version.rows or 0) as advance:

        def progress(rows: int) -> None:
            if heard:
                heard(rows)
            advance(rows)

        return source.read(progress, keep)


def prepare_list(settings: Settings) -> Later[object]:
    """Import in a thread what `open_list` needs, while the databases are waited for.

    Its end must be waited for before the list is opened: two threads that import a module which fails do not both get
    its error.
    """
    return Later.of(lambda: None if settings.exclusions.file else _cluster_side())


def cluster_side(settings: Settings, scope: CancelScope) -> ClusterSide:
    """Return what the configuration names in the cluster of the list. Raises ConfigError for the client's own."""
    return _cluster_side()(settings, scope)


def _cluster_side() -> type[ClusterSide]:
    with client_configuration():
        # Late: a list in a file does not need the YT client, which takes longer to import than everything else.
        from chatsync.exclusions.table import ClusterSide

    return ClusterSide
