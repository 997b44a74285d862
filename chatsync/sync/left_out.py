"""Everything in the list that a run leaves out, for the owners of the list: rejected rows and unknown clients.

The plan has the first rejected rows only. All of them go into a temporary file while the list is read, so
that a list of nothing but rejected rows takes no more memory.
"""

import csv
import io
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import msgspec

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import Keep, Plan, Rejected, counted, format_time, harmless
from chatsync.errors import ChatsyncError
from chatsync.exclusions import cluster_side
from chatsync.files import Spool, write_whole

Row = tuple[int | None, str, str]
"""The number of a row of the list, what it holds, and why it is left out. An unknown client has no number."""

_NO_SHARD = "client lives on no shard"
_BOM = "\ufeff"  # a spreadsheet recognises UTF-8 by it
_ROWS_A_PIECE = 1000

logger = logging.getLogger(__name__)


class LeftOut:
    """The rows that a run leaves out, while they are collected and until they are written."""

    def __init__(self, settings: Settings, file: Path | None = None) -> None:
        """Collect them for `file`, and for feedback.path where it is set; without both, nothing is collected."""
        self._settings = settings
        self._path = file
        self._rejected = Spool(file.parent if file else None)

    def __enter__(self) -> Self:
        """Return self; the `with` block removes the temporary file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary file."""
        self._rejected.close()

    @property
    def keep(self) -> Keep | None:
        """The function to call with each rejected row; None if the rows are not needed."""
        return self._keep if self._path or self._settings.feedback.path else None

    def _keep(self, row: Rejected) -> None:
        self._rejected.add(msgspec.json.encode((row.row, row.value, row.reason)).decode())

    def rows(self, plan: Plan) -> Iterator[Row]:
        """Yield the rejected rows in their order, then the unknown clients. Raises OutputError."""
        yield from (msgspec.json.decode(line, type=Row) for line in self._rejected)
        yield from ((None, str(client), _NO_SHARD) for client in plan.unknown)

    def save(self, plan: Plan) -> None:
        """Write them into the file as CSV, whole or not at all. Raises OutputError; a list that was not read has none.

        The number of a row is its line in a file, or, as `#7`, its index in a table, counted from 0.
        """
        if self._path is None:
            return
        if not plan.was_read:
            logger.warning("%s was not changed, because the list was not read", self._path)
            return
        write_whole(self._path, self._csv(plan))
        left_out = plan.exclusions.rejected_count + len(plan.unknown)
        logger.info("%s written to %s", counted(left_out, "left-out row"), self._path)

    def _csv(self, plan: Plan) -> Iterator[str]:
        mark = "" if self._settings.exclusions.file else "#"
        rows = (
            ("" if row is None else f"{mark}{row}", harmless(value), reason) for row, value, reason in self.rows(plan)
        )
        lines: Iterator[tuple[str, ...]] = chain([("row", "value", "reason")], rows)
        yield _BOM
        while piece := list(islice(lines, _ROWS_A_PIECE)):
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerows(piece)
            yield out.getvalue()

    def tell_owners(self, plan: Plan, scope: CancelScope) -> None:
        """Replace the table feedback.path, if it is set and the list was read. What goes wrong is a warning."""
        path = self._settings.feedback.path
        if not path or not plan.was_read:
            return
        try:
            cluster_side(self._settings, scope).replace_feedback(self.rows(plan), attributes_of(plan))
        except ChatsyncError as error:
            scope.check()  # a signal ends the command, as everywhere
            logger.warning("feedback.path: %s", error)
        else:
            logger.info("the rows that are left out are in the table %s", path)


def attributes_of(plan: Plan) -> Mapping[str, Any]:
    """Return the attributes of the owners' table: the list and its version, the time, and the counts."""
    listed = plan.exclusions
    return {
        "chatsync_feature": plan.feature.name,
        "chatsync_list": listed.source,
        "chatsync_list_modification_time": listed.modification_time,
        "chatsync_list_revision": listed.revision,
        "chatsync_written_at": format_time(datetime.now(UTC)),
        "chatsync_rows": listed.rows,
        "chatsync_clients_taken": (listed.clients or 0) - len(plan.unknown),
        "chatsync_rejected_rows": listed.rejected_count,
        "chatsync_unknown_clients": len(plan.unknown),
    }
