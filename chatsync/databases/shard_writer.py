"""Writing to one shard: turning a batch of clients off or on in one transaction."""

from collections.abc import Callable

import sqlalchemy as sa

from chatsync.core import Action, Gathered, Ids, Written, np, spelled, without
from chatsync.databases.packed_ids import Packed, row_columns, unpack_rows
from chatsync.databases.places import check_may_write, read_place
from chatsync.databases.shard_database import OFF, ShardDatabase

_LONG_PAUSE_SECONDS = 10
_ON = 1

Check = Callable[[], None]

# `+ 0` as in `shard_database`. Every id is an array's, so it is a number: see `spelled`.
_ROWS = "SELECT {columns} FROM clients_features WHERE feature_id + 0 = {feature} AND ClientID IN ({ids}){for_update}"
_UPDATE = "UPDATE clients_features SET is_enabled = {enabled} WHERE feature_id + 0 = {feature} AND ClientID IN ({ids})"
_INSERT = "INSERT INTO clients_features (ClientID, feature_id, is_enabled) VALUES ({rows}, {feature}, {off})"


class ShardWriter(ShardDatabase):
    """Writes the rows of one shard, and reads them."""

    _writable = True

    _checked: sa.Connection | None = None

    def write(
        self,
        action: Action,
        feature_id: int,
        ids: Ids,
        *,
        may_begin: Check,
        may_commit: Check,
        committing: Gathered,
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

        def batch(connection: sa.Connection) -> None:
            may_begin()
            self._check_connection(connection)
            to_update, to_insert = self._look(connection, action, feature_id, ids)
            todo = np.concatenate([to_update, to_insert])
            committing.drop(todo)  # their earlier commit did not succeed
            self._write(connection, action, feature_id, to_update=to_update, to_insert=to_insert)
            committing.add(todo)  # before the check: after it, the commit may come at any moment
            try:
                may_commit()
            except BaseException:
                committing.drop(todo)
                raise

        self.database.do(batch, what=_writing(ids))
        # Rows that an earlier attempt wrote, and this one found written, count as changed.
        changed = committing.among(ids)
        return Written(changed=changed, already=without(ids, changed))

    def try_write(self, action: Action, feature_id: int, ids: Ids) -> None:
        """Do everything that `write` does for these clients, and roll back. Raises DatabaseError."""

        def attempt(connection: sa.Connection) -> None:
            self._check_connection(connection)
            to_update, to_insert = self._look(connection, action, feature_id, ids)
            self._write(connection, action, feature_id, to_update=to_update, to_insert=to_insert)
            connection.rollback()

        self.database.do(attempt, what=_writing(ids))

    def _look(self, connection: sa.Connection, action: Action, feature_id: int, ids: Ids) -> tuple[Ids, Ids]:
        """Lock the rows of these clients; return those whose row is to be updated, and those that need one.

        FOR UPDATE: no other session can change these rows before they are written. Under READ COMMITTED it
        locks only the rows and no gaps between them, so that it does not block other writers. The server packs
        them into one value, so that no Python object is made for a row.
        """
        sql = _ROWS.format(
            columns=row_columns(is_sqlite=self.database.is_sqlite),
            feature=feature_id,
            ids=spelled(ids.tolist()),
            for_update="" if self.database.is_sqlite else " FOR UPDATE",
        )
        off, on = unpack_rows(Packed(*connection.exec_driver_sql(sql).one()), where=self.database)
        if action is Action.TURN_ON:
            return off, ids[:0]
        return on, without(without(ids, off), on)

    def _write(
        self, connection: sa.Connection, action: Action, feature_id: int, *, to_update: Ids, to_insert: Ids
    ) -> None:
        """Update the rows of clients that have one, and insert those of clients to be turned off that have none."""
        enabled = OFF if action is Action.TURN_OFF else _ON
        statements: list[str] = []
        if len(to_update):
            statements.append(_UPDATE.format(feature=feature_id, ids=spelled(to_update.tolist()), enabled=enabled))
        if len(to_insert):
            rows = spelled(to_insert.tolist()).replace(", ", f", {feature_id}, {OFF}), (")
            statements.append(_INSERT.format(rows=rows, feature=feature_id, off=OFF))
        self.database.execute_all(connection, statements)

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


def _writing(ids: Ids) -> str:
    return f"write client {ids[0]}" if len(ids) == 1 else f"write a batch of {len(ids)} clients"
