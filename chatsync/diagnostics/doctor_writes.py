"""The doctor's checks of what a run needs to write: a lock that all see, rows that are accepted, files.

Each write to a database is tried as `apply` and `set-modtime` make it, and rolled back.
"""

import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import Action, numbers_of
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.shard_database import on_every_shard
from chatsync.databases.shard_writer import ShardWriter
from chatsync.diagnostics.doctor import Line, bad, good, in_words, warning
from chatsync.errors import ChatsyncError, ConfigError

_HINT = "the lines above say more"
# This many connections reach every server behind a proxy that distributes them.
_LOCK_CONNECTIONS = 4


def check_writes(settings: Settings, scope: CancelScope, *, broken: Collection[str]) -> Iterator[Line]:
    """Try a write in each database.

    `broken` are the parts, such as `shard 2`, that have failed before: nothing is tried there.
    """
    if "dict" in broken:
        return
    try:
        with DictDatabase(settings, scope, writable=True) as dict_database:
            feature_id = dict_database.feature_id()
            dict_database.try_set_modtime()
    except ConfigError:  # no such feature: a line of its own
        return
    except ChatsyncError as error:
        yield bad("dict", in_words(error, hint=_HINT, where=str(settings.databases.dict)))
        return
    yield from _try_shards(settings, scope, feature_id, broken=broken)


def _try_shards(settings: Settings, scope: CancelScope, feature_id: int, *, broken: Collection[str]) -> Iterator[Line]:
    asked = [shard for shard in settings.databases.shards if f"shard {shard}" not in broken]
    ask = partial(_try_shard, feature_id=feature_id)
    outcomes = dict(on_every_shard(settings, scope, ask, shards=asked, kind=ShardWriter).outcomes(scope))
    errors = {shard: ended.error for shard, ended in outcomes.items() if ended.error is not None}
    for shard, error in sorted(errors.items()):
        if not isinstance(error, ChatsyncError):
            raise error
        yield bad(f"shard {shard}", in_words(error, hint=_HINT, where=str(settings.databases.shards[shard])))
    untried = [str(shard) for shard in asked if shard not in errors and not outcomes[shard].value]
    if untried:
        yield warning("writes", f"no client to try a write with on shard {', '.join(untried)}")
    if asked and not errors:
        which = f"dict and {len(asked) - len(untried)} of {len(asked)} shards"
        yield good("writes", f"what the job writes was tried and rolled back: {which}")


def check_lock(settings: Settings, scope: CancelScope) -> Iterator[Line]:
    """Check that all connections see the same lock of the job (GET_LOCK), because each server has its own locks."""
    url = settings.databases.dict
    if url.is_sqlite:
        return
    servers: set[str] = set()
    is_cluster = False
    try:
        for _ in range(_LOCK_CONNECTIONS):
            with DictDatabase(settings, scope) as dict_database:
                servers.add(dict_database.server())
                is_cluster = is_cluster or dict_database.is_in_cluster()
    except ChatsyncError:
        return  # reported above
    way_out = "name one server in databases.dict, the same on every machine that runs this job"
    if len(servers) > 1:
        yield bad("lock", f"{url}: connections lead to different servers, and each has locks of its own; {way_out}")
    elif is_cluster:
        yield warning("lock", f"{url}: a node of a Galera cluster, and each node has locks of its own; {way_out}")


def _try_shard(database: ShardWriter, *, feature_id: int) -> int:
    """Try each kind of write, and return the number of rows."""
    place = database.read_place()
    rows = database.rows_among(feature_id, place.clients)
    off = BitMap64([client for client, is_on in rows.items() if not is_on][:1])
    on = BitMap64([client for client, is_on in rows.items() if is_on][:1])
    new = (place.clients - BitMap64(list(rows)))[:1]
    for action, ids in ((Action.TURN_OFF, on | new), (Action.TURN_ON, off)):
        if ids:
            database.try_write(action, feature_id, numbers_of(ids))
    return len(off | on | new)


def check_folders(settings: Settings) -> Iterator[Line]:
    """Check by their permissions whether records and metrics can be written."""
    if settings.records.dir:
        folder = Path(settings.records.dir)
        # The first run makes the folder, but not its parent.
        yield _folder("records", "records.dir", folder if folder.exists() else folder.parent, shown=folder)
    else:
        yield warning("records", "records.dir is not set: history, explain and apply --undo will have no data")
    if settings.metrics.textfile:
        file = Path(settings.metrics.textfile)
        yield _folder("metrics", "metrics.textfile", file.parent, shown=file)
    else:
        yield good("metrics", "not written, as metrics.textfile is not set")
    if settings.monitoring.state_file:
        file = Path(settings.monitoring.state_file)
        yield _folder("state file", "monitoring.state_file", file.parent, shown=file)


def _folder(part: str, key: str, folder: Path, *, shown: Path) -> Line:
    if not folder.is_dir():
        return bad(part, f"{key}: there is no folder {folder}; create it, or correct the key")
    if not os.access(folder, os.W_OK | os.X_OK):
        return bad(part, f"{key}: this user may not write into {folder}; run as another user, or chown it")
    return good(part, f"{shown} can be written")
