"""The rows of one table of an export: which clients are off on which shard, and whether the rows are valid.

Reads blocks of numbers, millions of rows per second. Every row is checked: one row that can't be from
clients_features makes the whole export unusable.
"""

from collections.abc import Collection, Sequence

from pyroaring import BitMap64

from chatsync.core import MAX_CLIENT_ID, Numbers, bitmap_of, counted, np
from chatsync.errors import SourceError

_ON, _OFF = 1, 0


class ExportRows:
    """Counts and collects the rows of a table; each row names its shard, or all rows are of one shard."""

    def __init__(self, feature_id: int, shards: Collection[int], *, columns: Sequence[str], where: str) -> None:
        """Start without rows. `shards` are the possible shards of a row; if there is only one, all rows are of it."""
        self._feature_id = feature_id
        self._columns = columns
        self._where = where
        self._shards = np.array(sorted(shards))
        self.rows = dict.fromkeys(shards, 0)
        self.ours = dict.fromkeys(shards, 0)
        self.off = {shard: BitMap64() for shard in shards}
        self._on = {shard: BitMap64() for shard in shards}

    def take(self, block: Sequence[Numbers]) -> None:
        """Add rows, given as columns of equal length: client, feature, enabled, and the shard if rows name it.

        Raises SourceError for a row that can't be from clients_features.
        """
        client, feature, enabled, *shard = block
        if not len(client):
            return
        self._check(client, "client", (client < 0) | (client > MAX_CLIENT_ID))
        self._check(feature, "feature", feature < 0)
        ours = feature == self._feature_id
        off = ours & (enabled == _OFF)
        self._check(enabled, "enabled", ours & ~off & (enabled != _ON))
        if not shard:
            self._add(int(self._shards[0]), client, ours, off)
            return
        self._check(shard[0], "shard_column", ~np.isin(shard[0], self._shards))
        for number in self._shards:
            here = shard[0] == number
            if here.any():
                self._add(int(number), client[here], ours[here], off[here])

    def _add(self, shard: int, client: Numbers, ours: Numbers, off: Numbers) -> None:
        self.rows[shard] += len(client)
        self.ours[shard] += int(np.count_nonzero(ours))
        self.off[shard] |= bitmap_of(client[off])
        self._on[shard] |= bitmap_of(client[ours & ~off])

    def _check(self, column: Numbers, key: str, wrong: Numbers) -> None:
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            name = self._columns[("client", "feature", "enabled", "shard_column").index(key)]
            value = "nothing" if int(column[at]) == -1 else f"{int(column[at])}"
            expected = {
                "client": f"a client id, 0 to {MAX_CLIENT_ID}",
                "feature": "a feature id",
                "enabled": "0 or 1",
                "shard_column": f"a shard of databases.shards ({', '.join(map(str, self._shards))})",
            }
            raise SourceError(
                f"row {sum(self.rows.values()) + at} has {value} in column {name!r}, and not {expected[key]}; "
                "an export with a broken row is not used",
                where=self._where,
                way_out=f"tell its owners, or correct export.{key}",
            )

    def check_doubles(self) -> None:
        """Raise SourceError if a client has two rows of the feature on a shard: the table holds two exports."""
        for shard, count in self.ours.items():
            clients = len(self.off[shard] | self._on[shard])
            if clients != count:
                raise SourceError(
                    f"{counted(count, 'row')} of the feature for {counted(clients, 'client')} on shard {shard}; an "
                    "export with duplicate rows is not used",
                    where=self._where,
                    way_out="tell its owners that it may have been written twice into one table",
                )
