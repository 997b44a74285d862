"""The example of `chatsync demo`: a dict database, four shards and an exclusion list."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from chatsync.databases.tables import (
    clients_features,
    dict_metadata,
    features,
    ppc_properties,
    shard_client_id,
    shard_metadata,
)
from chatsync.errors import OutputError

FEATURE = "checked_support_chat"
PROPERTY = "CHECKED_SUPPORT_CHAT_FEATURE_LAST_SYNCED_MOD_TIME"

# Turned on by the demo, as the list does not name it.
UNLISTED_CLIENT = 856551

_SHARDS = (1, 2, 3, 4)
_FEATURE_ID, _OTHER_FEATURE_ID = 217, 42
_CLIENTS = 5000
_OFF = 1200
_TO_TURN_OFF, _TO_TURN_ON = 57, 31
_UNKNOWN, _DUPLICATES = 9, 14
_BAD_ROWS = ("n/a", "-17", "12.5", "client 4711", "0")

_LIST_AGE = 15 * 60  # seconds

_CONFIG = f"""\
[exclusions]
file = "exclusions.csv"
settle = "0.01s"  # the default of 10s would keep you from editing this list and reading it at once

[feature]
name = "{FEATURE}"

[databases]
dict = "sqlite:///dict.db"

[records]
dir = "records"

[databases.shards]
""" + "".join(f'{shard} = "sqlite:///shard{shard}.db"\n' for shard in _SHARDS)


def write_world(folder: Path) -> Path:
    """Write the example into a new or empty folder and return the path of its configuration.

    The content is always the same. Raises OutputError if the folder is not empty.
    """
    chance = random.Random(2026)  # noqa: S311  # a demo, not a secret
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            msg = f"{folder} is not empty; name a new folder for the demo"
            raise OutputError(msg)
        homes = _homes(chance)
        off = set(chance.sample(sorted(homes), _OFF))
        _write_databases(folder, homes, off, chance)
        list_file = folder / "exclusions.csv"
        list_file.write_text(_exclusions(homes, off, chance), encoding="utf-8")
        modified = time.time() - _LIST_AGE
        os.utime(list_file, (modified, modified))
        config = folder / "chatsync.toml"
        config.write_text(_CONFIG, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write the demo into {folder}: {error.strerror}"
        raise OutputError(msg) from None
    return config


def _homes(chance: random.Random) -> dict[int, int]:
    clients = chance.sample(range(100_000, 9_000_000), _CLIENTS)
    return {client: chance.choice(_SHARDS) for client in clients}


def _exclusions(homes: dict[int, int], off: set[int], chance: random.Random) -> str:
    """Return the list: most of the clients that are off, some others, and the bad rows that real lists have."""
    listed = chance.sample(sorted(off), _OFF - _TO_TURN_ON)
    listed += chance.sample(sorted(set(homes) - off), _TO_TURN_OFF)
    strangers = [9_000_000 + chance.randrange(1_000_000) for _ in range(_UNKNOWN)]
    cells = [*map(str, listed), *map(str, strangers), *map(str, chance.sample(listed, _DUPLICATES)), *_BAD_ROWS]
    chance.shuffle(cells)
    lines = [f"{cell},added by sales" for cell in cells]
    return "\n".join(["client_id,comment", *lines]) + "\n"


def _write_databases(folder: Path, homes: dict[int, int], off: set[int], chance: random.Random) -> None:
    with _create(folder / "dict.db", dict_metadata) as connection:
        names = {_FEATURE_ID: FEATURE, _OTHER_FEATURE_ID: "another_feature"}
        connection.execute(
            features.insert(),
            [{"feature_id": key, "feature_text_id": name, "feature_public_name": name} for key, name in names.items()],
        )
        connection.execute(ppc_properties.insert(), {"name": PROPERTY, "value": "2026-01-15 09:40:12"})
        connection.execute(
            shard_client_id.insert(), [{"ClientID": client, "shard": shard} for client, shard in homes.items()]
        )
    others = set(chance.sample(sorted(homes), _CLIENTS // 10))
    for number in _SHARDS:
        here = [client for client, shard in homes.items() if shard == number]
        rows = [(client, _FEATURE_ID) for client in here if client in off]
        rows += [(client, _OTHER_FEATURE_ID) for client in here if client in others]
        with _create(folder / f"shard{number}.db", shard_metadata) as connection:
            connection.execute(
                clients_features.insert(),
                [{"ClientID": client, "feature_id": feature, "is_enabled": 0} for client, feature in rows],
            )


@contextmanager
def _create(path: Path, tables: sa.MetaData) -> Iterator[sa.Connection]:
    """Create an SQLite file with these tables; the block is one transaction."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    with engine.begin() as connection:
        tables.create_all(connection)
        yield connection
    engine.dispose()
