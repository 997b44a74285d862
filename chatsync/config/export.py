"""The section `export`: where the feature state can be read in YT instead of on every shard."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from chatsync.config.durations import Seconds, Wait
from chatsync.config.section import Section

SHARD = "{shard}"

Column = Annotated[str, Meta(min_length=1, max_length=256)]


class Export(Section, frozen=True, kw_only=True):
    """An export of `clients_features` in YT. With `path`, `diff` reads it instead of the shards.

    The differences are still confirmed in the databases. docs/scale.md says when to use it.
    """

    path: Annotated[
        str,
        "path of the export in the cluster of the list: a table for each shard, with `{shard}` in place of its "
        "number, or one table for all shards; links are followed",
    ] = ""
    shard_column: Annotated[str, "in one table for all shards: the column with the number of the shard"] = ""
    client: Annotated[Column, "the column with the client ids: integers, or strings of digits"] = "ClientID"
    feature: Annotated[Column, "the column with the ids of features: integers, or strings of digits"] = "feature_id"
    enabled: Annotated[Column, "the column that says on or off: 1 or 0, true or false, or these as strings"] = (
        "is_enabled"
    )
    time: Annotated[
        Column,
        "the attribute of the tables that holds the time of the export; a dynamic table needs one that its writer sets",
    ] = "modification_time"
    takes: Annotated[Wait, "how long an export takes, at most: its rows may be this much older than its time"] = (
        Wait.parse("1h")
    )
    when_stale: Annotated[
        Literal["databases", "refuse"],
        "what `diff` does with an export that is too old, or older than the last change of `apply`: read all shards, "
        "or `refuse`",
    ] = "databases"
    property: Annotated[
        str,
        "the row of `ppc_properties` to which `apply` writes when it changed something; every configuration that "
        "writes this feature must name the same row; default: `modtime.property` with `_LAST_APPLY_TIME` at its end",
    ] = ""

    clique: Annotated[
        str,
        "the CHYT clique that compares list and export, instead of this program; your own one, not `ch_public`",
    ] = ""
    timeout: Annotated[Seconds, "the longest time that the clique may take for this"] = Seconds.parse("10m")
    settings: Annotated[
        Mapping[str, str | int | float | bool],
        "further ClickHouse settings of that query, such as `max_memory_usage`",
    ] = {}

    def table_of(self, shard: int) -> str:
        """Return the path of a shard's table."""
        return self.path.replace(SHARD, str(shard))
