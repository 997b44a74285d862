"""The exclusion list in a YT table (one locked version, with the ids in one column), and what belongs to it there."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import ExclusionList, Keep, ListVersion
from chatsync.exclusions.client_ids import IdCollector
from chatsync.ytsaurus.columns import NULL
from chatsync.ytsaurus.feedback import replace_table
from chatsync.ytsaurus.table import Table, open_table


class ListTable:
    """One version of a list in a table."""

    def __init__(self, table: Table, column: str) -> None:
        """Take a locked table."""
        self._table = table
        self._column = column
        self.cluster = table.cluster
        self.version = ListVersion(
            source=str(table), modified=table.modified, revision=table.revision, rows=table.row_count
        )

    def kind(self) -> str:
        """Return the kind of the source for a message, with the column's type."""
        column_type = self._table.column_type(self._column)
        typed = f"of type {column_type}" if column_type else "not in its schema"
        return f"a static table with column {self._column} {typed}"

    def warnings(self) -> list[str]:
        """Return warnings: things that work but should be changed."""
        cluster = self._table.cluster
        return [cluster.open_token_warning] if cluster.sends_token_openly else []

    def check_column(self) -> None:
        """Check the schema. Raises SourceError if it lacks the column."""
        self._table.column_type(self._column)

    def read(self, progress: Callable[[int], None], keep: Keep | None = None) -> ExclusionList:
        """Read all rows. Raises SourceError when not all of them can be read."""
        taker = _IdTaker(keep)
        self._table.read(self._column, taker, progress)
        return taker.collector.finish(self.version)


class _IdTaker:
    """Passes the rows of a table to a collector of ids; row numbers start at 0."""

    def __init__(self, keep: Keep | None) -> None:
        self.collector = IdCollector(keep)

    @property
    def rows(self) -> int:
        return self.collector.rows

    def take_lines(self, lines: bytes) -> None:
        if not self.collector.add_lines(lines):
            for line in lines.split(b"\n")[:-1]:
                self.take(None if line == NULL else line)

    def take(self, value: Any) -> None:
        self.collector.add(value, row=self.collector.rows)


class ClusterSide:
    """What the configuration names in the cluster of the list: the list and the table of left-out rows."""

    def __init__(self, settings: Settings, scope: CancelScope) -> None:
        """Ask nothing yet."""
        self._settings = settings
        self._scope = scope

    @contextmanager
    def open_list(self) -> Iterator[ListTable]:
        """Lock one version of the list inside the block. Raises SourceError when it can't be read."""
        section = self._settings.exclusions
        with open_table(section, self._scope, path=section.path, key="exclusions.path") as table:
            yield ListTable(table, section.column)

    def replace_feedback(
        self,
        rows: Iterable[tuple[int | None, str, str]],
        attributes: Mapping[str, Any],
        *,
        trial: bool = False,
    ) -> None:
        """Replace the table feedback.path by rows that were left out; a `trial` is taken back. Raises SourceError."""
        replace_table(self._settings, rows, attributes, self._scope, trial=trial)
