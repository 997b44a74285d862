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

        Rows that are already so stay untouched. After a connection that was lost during the
        commit, the next attempt finds out whether it went through. `may_begin` is called before
        every attempt and `may_commit` after the rows were written, as both may have waited long
        for a server or for a lock on a row; what they raise ends the batch with nothing written.

        `committing` is an output parameter: the ids whose COMMIT was sent. If this raises, it is
        unknown whether they were written.
        """
        change = self._turn_off if action is Action.TURN_OFF else self._turn_on

        def batch(connection: sa.Connection) -> BitMap64:
            may_begin()
            self._check_connection(connection)
            # FOR UPDATE: no other session can change these rows before they are written. Under READ COMMITTED it
            # locks only the rows and no gaps between them, so that it does not block other writers.
            rows = self.on_these(connection, statement=ROWS, feature_id=feature_id, ids=ids, lock=True)
            todo = change(connection, feature_id, ids, dict(rows))
            committing.difference_update(todo)  # an earlier commit of theirs did not go through
            committing.update(todo)  # before the check: what is allowed now may be committed at any later moment
            try:
                may_commit()
            except BaseException:
                committing.difference_update(todo)
                raise
            return todo

        todo = self.database.do(batch, what=f"write a batch of {len(ids)} client{'' if len(ids) == 1 else 's'}")
        # Rows that an earlier attempt wrote, and this one found written, count as changed.
        changed = todo | committing
        return Written(changed=changed, already=ids - changed)

    def _turn_off(self, connection: sa.Connection, feature_id: int, ids: BitMap64, enabled: dict[int, int]) -> BitMap64:
        """Update the rows that are on, insert the missing ones, and return their clients."""
        to_update = BitMap64([client for client, value in enabled.items() if value != OFF])
        to_insert = ids - BitMap64(list(enabled))
        if to_update:
            self.on_these(connection, statement=_UPDATE, feature_id=feature_id, ids=to_update, enabled=OFF)
        if to_insert:
            rows = ", ".join([f"({self.mark}, {self.mark}, {OFF})"] * len(to_insert))
            values = tuple(value for client in to_insert for value in (client, feature_id))
            connection.exec_driver_sql(_INSERT.format(rows=rows), values)
        return to_update | to_insert

    def _turn_on(self, connection: sa.Connection, feature_id: int, ids: BitMap64, enabled: dict[int, int]) -> BitMap64:
        """Update the rows that are off, and return their clients; a client without a row is on."""
        to_update = ids & BitMap64([client for client, value in enabled.items() if value == OFF])
        if to_update:
            self.on_these(connection, statement=_UPDATE, feature_id=feature_id, ids=to_update, enabled=_ON)
        return to_update

    def _check_connection(self, connection: sa.Connection) -> None:
        """Check each new connection once: after a lost one, a proxy may lead to another server."""
        if self._checked is not connection:
            check_may_write(self.database, read_place(connection, self.database))
            self._checked = connection

    def wait(self, seconds: float) -> None:
        """Wait between two batches. No connection is idle for long: a proxy would end it, and the batch would fail."""
        if seconds > _LONG_PAUSE_SECONDS:
            self.hang_up()
        self.database.scope.wait(seconds)

    def hang_up(self) -> None:
        """Close the connection; the next batch opens a new one."""
        self.database.close()
