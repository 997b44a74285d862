"""Writing to one shard: turning a batch of clients off or on in one transaction."""

from collections.abc import Callable

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.core import Action, Written
from chatsync.databases.places import check_may_write, read_place
from chatsync.databases.shard_database import OFF, ROWS, ShardDatabase

_LONG_PAUSE_SECONDS = 10
_ON = 1

Check = Callable[[], None]

_UPDATE = "UPDATE clients_features SET is_enabled = {enabled} WHERE feature_id + 0 = {mark} AND ClientID IN ({marks})"
_INSERT = "INSERT INTO clients_features (ClientID, feature_id, is_enabled) VALUES {rows}"


class ShardWriter(ShardDatabase):
    """Writes the rows of one shard, and reads them."""

    _writable = True

    _checked: sa.Connection | None = None

    def write(
        self,
        action: Action,
        feature_id: int,
        ids: BitMap64,
        *,
        may_begin: Check,
        may_commit: Check,
        committing: BitMap64,
    ) -> Written:
        """Turn one batch of clients off or on in one transaction.

        Rows that need no change are not written. If the connection is lost during the commit, the next
        attempt finds out whether the commit succeeded. `may_begin` is called before every attempt, and
        `may_commit` after the rows were written, because both may have waited long for a server or a row
        lock. If they raise, the batch ends and nothing is written.

        Raises DatabaseError; `is_about_rows` tells whether it helps to write these clients in parts.

        `committing` is an output parameter: the ids whose COMMIT was sent. If this raises, it is
        unknown whether they were written.
        """

        def batch(connection: sa.Connection) -> BitMap64:
            may_begin()
            self._check_connection(connection)
            todo, with_row = self._look(connection, action, feature_id, ids)
            committing.difference_update(todo)  # their earlier commit did not succeed
            self._write(connection, action, feature_id, todo, with_row=with_row)
            committing.update(todo)  # before the check: after it, the commit may come at any moment
            try:
                may_commit()
            except BaseException:
                committing.difference_update(todo)
                raise
            return todo

        todo = self.database.do(batch, what=_writing(ids))
        # Rows that an earlier attempt wrote, and this one found written, count as changed.
        changed = todo | (committing & ids)
        return Written(changed=changed, already=ids - changed)

    def try_write(self, action: Action, feature_id: int, ids: BitMap64) -> None:
        """Do everything that `write` does for these clients, and roll back. Raises DatabaseError."""

        def attempt(connection: sa.Connection) -> None:
            self._check_connection(connection)
            todo, with_row = self._look(connection, action, feature_id, ids)
            self._write(connection, action, feature_id, todo, with_row=with_row)
            connection.rollback()

        self.database.do(attempt, what=_writing(ids))

    def _look(
        self, connection: sa.Connection, action: Action, feature_id: int, ids: BitMap64
    ) -> tuple[BitMap64, BitMap64]:
        """Lock the rows of these clients; return those to be changed, and those that have a row.

        FOR UPDATE: no other session can change these rows before they are written. Under READ COMMITTED it
        locks only the rows and no gaps between them, so that it does not block other writers.
        """
        rows = self.on_these(connection, statement=ROWS, feature_id=feature_id, ids=ids, lock=True)
        off = BitMap64([client for client, value in rows if value == OFF])
        return ids - off if action is Action.TURN_OFF else off, BitMap64([client for client, _ in rows])

    def _write(
        self, connection: sa.Connection, action: Action, feature_id: int, todo: BitMap64, *, with_row: BitMap64
    ) -> None:
        """Update the rows of clients that have one, and insert those of clients to be turned off that have none."""
        enabled = OFF if action is Action.TURN_OFF else _ON
        statements: list[str] = []
        values: list[tuple[int, ...]] = []
        if to_update := todo & with_row:
            marks = ", ".join([self.mark] * len(to_update))
            statements.append(_UPDATE.format(mark=self.mark, marks=marks, enabled=enabled))
            values.append((feature_id, *to_update))
        if to_insert := todo - with_row:
            rows = ", ".join([f"({self.mark}, {self.mark}, {OFF})"] * len(to_insert))
            statements.append(_INSERT.format(rows=rows))
            values.append(tuple(value for client in to_insert for value in (client, feature_id)))
        self.database.execute_all(connection, statements, values)

    def _check_connection(self, connection: sa.Connection) -> None:
        """Check each new connection once: after a reconnect, a proxy may lead to another server."""
        if self._checked is not connection:
            check_may_write(self.database, read_place(connection, self.database))
            self._checked = connection

    def wait(self, seconds: float) -> None:
        """Wait between two batches. Close the connection before a long wait: a proxy would end it when idle."""
        if seconds > _LONG_PAUSE_SECONDS:
            self.hang_up()
        self.database.scope.wait(seconds)

    def hang_up(self) -> None:
        """Close the connection; the next batch opens a new one."""
        self.database.close()


def _writing(ids: BitMap64) -> str:
    return f"write client {ids[0]}" if len(ids) == 1 else f"write a batch of {len(ids)} clients"
