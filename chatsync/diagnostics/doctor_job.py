"""The doctor's look at what the dict database says of the job: the feature, the mod-time, the shards."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import sqlalchemy as sa

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.modtime import NEVER, modtime_meaning, parse_property
from chatsync.core.times import parse_time, short_time
from chatsync.databases.connection import Database
from chatsync.databases.tables import features, ppc_properties, shard_client_id, utc_now
from chatsync.diagnostics.doctor import Line, bad, good, in_words, warning
from chatsync.errors import ChatsyncError

_FEATURE = sa.select(features.c.feature_id).where(features.c.feature_text_id == sa.bindparam("feature"))
_PROPERTY = sa.select(ppc_properties.c.value).where(ppc_properties.c.name == sa.bindparam("property"))
_NOW = sa.select(utc_now().label("now"))
_SHARDS = (
    sa.select(shard_client_id.c.shard, sa.func.count().label("clients"))
    .group_by(shard_client_id.c.shard)
    .order_by(shard_client_id.c.shard)
)


def check_job(settings: Settings, scope: CancelScope, list_time: datetime | None) -> Iterator[Line]:
    """Look up the feature, the mod-time and the shards; `list_time` is None when nobody knows it."""
    checks: dict[str, Callable[[Database], Iterator[Line]]] = {
        "feature": lambda database: _check_feature(settings, database),
        "mod-time": lambda database: _check_modtime(settings, database, list_time),
        "shards": lambda database: _check_shards(settings, database),
    }
    with Database(settings.databases.dict, name="dict", scope=scope) as database:
        for part, check in checks.items():
            try:
                yield from check(database)
            except ChatsyncError as error:
                yield bad(part, in_words(error, hint="see the dict database above"))


def _check_feature(settings: Settings, database: Database) -> Iterator[Line]:
    name = settings.feature.name
    rows = database.rows(_FEATURE, {"feature": name}, what="look up the feature")
    if rows:
        yield good("feature", f"{name} has id {rows[0].feature_id}")
    else:
        yield bad("feature", f"table features has no {name!r}; mend feature.name, or add the row")


def _check_modtime(settings: Settings, database: Database, list_time: datetime | None) -> Iterator[Line]:
    name = settings.modtime.property
    rows = database.rows(_PROPERTY, {"property": name}, what="read the mod-time")
    (clock,) = database.rows(_NOW, {}, what="read the clock")
    now = parse_time(clock.now, timezone=UTC)
    if not rows:
        yield good(
            "mod-time", "not set: no list was ever synced; a first fill, with nobody off yet, needs apply --force"
        )
        return
    modtime = parse_property(rows[0].value, name=name, where=str(database), timezone=settings.timezone)
    # With no list to hold it against, the oldest there could be: only the future counts then.
    meaning = modtime_meaning(modtime, list_time=list_time or NEVER, now=now)
    if modtime > now:
        yield warning("mod-time", f"{meaning}; `chatsync set-modtime --reset` switches it on again")
    else:
        yield good("mod-time", f"{short_time(modtime)}{f': {meaning}' if list_time else ''}")


def _check_shards(settings: Settings, database: Database) -> Iterator[Line]:
    found = {row.shard: row.clients for row in database.rows(_SHARDS, {}, what="count the clients of each shard")}
    known = set(settings.databases.shards)
    forgotten, idle = sorted(set(found) - known), sorted(known - set(found))
    for shard in forgotten:
        yield bad("shards", f"{found[shard]} clients live on shard {shard}, which databases.shards lacks; add it")
    if idle:
        names = ", ".join(map(str, idle))
        yield warning("shards", f"no client lives on shard {names} of databases.shards; is it the right dict database?")
    if not forgotten:
        yield good("shards", f"{sum(found.values())} clients, all on shards that databases.shards names")
