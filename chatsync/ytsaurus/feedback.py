"""The table with the rows that were left out, beside the list: replaced as a whole, or not at all."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from yt.common import YtError
from yt.wrapper.format import YsonFormat

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.parallel import SideBySide
from chatsync.ytsaurus.client import Cluster, quiet_the_client
from chatsync.ytsaurus.faults import explained_write

# The attribute that marks a table which this program may replace.
_OURS = "chatsync_feedback"
_COLUMNS = (("row", "int64"), ("value", "string"), ("reason", "string"))
_TRANSACTION_MARGIN = 60.0
# The longest time that a run waits for the table, and the part of run.deadline that must be left for the other steps.
_LONGEST, _REST = 60.0, 5.0


class _RollBack(Exception):  # noqa: N818  # not an error: the end of a trial
    """Raised in place of a commit."""


def replace_table(
    settings: Settings,
    rows: Iterable[tuple[int | None, str, str]],
    attributes: Mapping[str, Any],
    scope: CancelScope,
    *,
    trial: bool = False,
) -> None:
    """Replace the table feedback.path by these rows and attributes, in one transaction.

    The table is created if it is missing. Overwriting keeps its access rights, and a reader of the table still
    sees the old rows until the commit (YTsaurus docs, "Transactions"). A `trial` does all this without the commit.
    A table that has rows and was not written by this program is not changed. Raises SourceError, and
    DeadlineError after a minute, or before the command's own deadline.
    """
    quiet_the_client()

    def write() -> None:
        cluster, path = Cluster(settings.exclusions), settings.feedback.path
        with explained_write(cluster, path):
            _replace(cluster, path, rows, attributes, seconds=_LONGEST + _TRANSACTION_MARGIN, trial=trial)

    within = max(0.0, min(_LONGEST, scope.remaining - _REST))
    for _, ended in SideBySide({settings.feedback.path: write}, workers=1).outcomes(scope, within=within):
        ended.unwrap()


def _replace(
    cluster: Cluster,
    path: str,
    rows: Iterable[tuple[int | None, str, str]],
    attributes: Mapping[str, Any],
    *,
    seconds: float,
    trial: bool,
) -> None:
    client = cluster.client
    # Its timeout is longer than the command may take, so that no thread has to ping it.
    with contextlib.suppress(_RollBack), client.Transaction(timeout=int(seconds * 1000), ping=False):
        schema = [{"name": name, "type": kind} for name, kind in _COLUMNS]
        client.create("table", path, ignore_existing=True, attributes={_OURS: True, "schema": schema})
        about = client.get(f"{path}/@", attributes=[_OURS, "row_count", "dynamic"])
        if about.get("dynamic") or (about.get("row_count") and not about.get(_OURS)):
            raise YtError("it holds rows that chatsync did not write, so it was not changed; correct feedback.path")
        names = [name for name, _ in _COLUMNS]
        client.write_table(path, (dict(zip(names, row, strict=True)) for row in rows), format=YsonFormat())
        for name, value in {_OURS: True, **attributes}.items():
            client.set(f"{path}/@{name}", value)
        if trial:
            raise _RollBack
