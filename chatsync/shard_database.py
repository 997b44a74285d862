"""What chatsync asks of and tells one shard: who is off there, and turn these off or on."""

from typing import Self

import sqlalchemy as sa
from pyroaring import BitMap64

from chatsync.core import chunks
from chatsync.databases import Database
from chatsync.packed_ids import parse_packed
from chatsync.results import Action, Written
from chatsync.run import Run
from chatsync.settings import Settings
from chatsync.tables import clients_features

# Ids of one page: at most 11 bytes each, so a page stays below GROUP_CONCAT_MAX_LEN, and that
# below the smallest max_allowed_packet that servers are run with.
PAGE_SIZE = 50_000
LOOKUP_SIZE = 1000

_OFF = 0
_ON = 1

_client = clients_features.c.ClientID
_enabled = clients_features.c.is_enabled
_of_feature = clients_features.c.feature_id == sa.bindparam("feature")

_page = (
    sa.select(_client)
    .where(_of_feature, _enabled == _OFF, _client > sa.bindparam("after"))
    .order_by(_client)
    .limit(sa.bindparam("size"))
    .subquery()
)
_PAGE = sa.select(
    sa.func.count().label("size"),
    sa.func.max(_page.c.ClientID).label("last"),
    sa.func.group_concat(_page.c.ClientID).label("ids"),
)


_OFF_AMONG = sa.select(
    sa.func.count().label("size"),
    sa.func.group_concat(_client).label("ids"),
).where(_of_feature, _enabled == _OFF, _client.in_(sa.bindparam("ids", expanding=True)))

# FOR UPDATE: between looking and writing nobody else changes these rows. Under READ COMMITTED it
# locks the rows alone and no gaps between them, so that other writers of the table are left in peace.
_ROWS = (
    sa.select(_client, _enabled).where(_of_feature, _client.in_(sa.bindparam("ids", expanding=True))).with_for_update()
)
_UPDATE = (
    sa.update(clients_features)
    .where(_of_feature, _client.in_(sa.bindparam("ids", expanding=True)))
    .values(is_enabled=sa.bindparam("enabled"))
)
_INSERT = sa.insert(clients_features).values(
    ClientID=sa.bindparam("client"), feature_id=sa.bindparam("feature"), is_enabled=_OFF
)


class ShardDatabase:
    """One shard, asked in the job's own words."""

    def __init__(self, settings: Settings, shard: int, run: Run, *, writable: bool = False) -> None:
        """Describe it; nothing is opened yet. Only a writable one may change rows."""
        url = settings.databases.shards[shard]
        self.database = Database(url, name=f"shard {shard}", run=run, writable=writable)

    def __enter__(self) -> Self:
        """Be closed at the end of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the connection."""
        self.database.close()

    def read_off(self, feature_id: int) -> BitMap64:
        """Read who is off here, page by page in the order of ids.

        The server packs each page into one text with its count; a text that a server limit cut
        short does not fit its count and is an error.
        """
        off = BitMap64()
        after, count = 0, PAGE_SIZE
        while count == PAGE_SIZE:
            values = {"feature": feature_id, "after": after, "size": PAGE_SIZE}
            (page,) = self.database.rows(_PAGE, values, what="read who is off")
            count, after = page.size, page.last
            if count:
                off.update(parse_packed(page.ids, count=count))
        return off

    def off_among(self, feature_id: int, ids: BitMap64) -> BitMap64:
        """Say which of these clients are off here, by asking for them alone."""
        off = BitMap64()
        for chunk in chunks(ids, LOOKUP_SIZE):
            values = {"feature": feature_id, "ids": list(chunk)}
            (row,) = self.database.rows(_OFF_AMONG, values, what="see who is off")
            if row.size:
                off.update(parse_packed(row.ids, count=row.size))
        return off

    def write(self, action: Action, feature_id: int, ids: BitMap64) -> Written:
        """Turn one batch of clients off or on in one transaction.

        Rows that are already so are left alone. After a connection that was lost during the
        commit, the next attempt finds out whether it went through.
        """
        committing = BitMap64()

        def batch(connection: sa.Connection) -> BitMap64:
            todo = _write(connection, action, feature_id, ids)
            committing.update(todo)
            return todo

        todo = self.database.do(batch, what=f"write a batch of {len(ids)} clients")
        # What an earlier attempt wrote and this one found done was changed by us all the same.
        changed = todo | committing
        return Written(changed=changed, already=ids - changed)


def _write(connection: sa.Connection, action: Action, feature_id: int, ids: BitMap64) -> BitMap64:
    """Change the rows that are not so yet, leave the others alone, and say which were changed."""
    rows = connection.execute(_ROWS, {"feature": feature_id, "ids": list(ids)})
    enabled = {client: value for client, value in rows}  # noqa: C416  # a Row is no pair to dict()
    if action is Action.TURN_ON:
        todo = BitMap64([client for client, value in enabled.items() if value == _OFF])
        _update(connection, feature_id, todo, enabled=_ON)
        return todo
    to_update = BitMap64([client for client, value in enabled.items() if value != _OFF])
    to_insert = ids - BitMap64(list(enabled))
    _update(connection, feature_id, to_update, enabled=_OFF)
    if to_insert:
        connection.execute(_INSERT, [{"client": client, "feature": feature_id} for client in to_insert])
    return to_update | to_insert


def _update(connection: sa.Connection, feature_id: int, ids: BitMap64, *, enabled: int) -> None:
    if ids:
        connection.execute(_UPDATE, {"feature": feature_id, "ids": list(ids), "enabled": enabled})
