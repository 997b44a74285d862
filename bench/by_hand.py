"""What a program for one purpose does, without any check: `by_hand.py noop|diff CONFIGURATION`.

It opens all connections side by side and then sends as few statements in sequence as the work needs.
"""

import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mysql.connector
import numpy as np
import yt.wrapper
from yt.wrapper.format import SchemafulDsvFormat

OFF = "SELECT ClientID FROM clients_features WHERE feature_id = %s AND is_enabled = 0"
STATE = """SELECT feature_id, (SELECT value FROM ppc_properties LIMIT 1) FROM features
    WHERE feature_text_id = 'checked_support_chat'"""
HOMES = "SELECT ClientID, shard FROM shard_client_id WHERE ClientID IN ({})"
IDS_A_STATEMENT = 5000
CONNECTIONS_TO_DICT = 4


def connect(url: str) -> Any:
    """Log in with TLS, as the configuration says."""
    parts = urlsplit(url)
    return mysql.connector.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        ssl_ca=parts.query.partition("=")[2],
        ssl_verify_cert=True,
        collation="utf8mb4_general_ci",
        autocommit=True,
    )


def ask(connection: Any, sql: str, *values: object) -> list[Any]:
    """Return the rows of one statement."""
    cursor = connection.cursor()
    cursor.execute(sql, values)
    return list(cursor.fetchall())


def main() -> None:
    """Read what the work needs, and print the number of clients that differ."""
    what, file = sys.argv[1:]
    configuration = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    databases, exclusions = configuration["databases"], configuration["exclusions"]
    if what == "noop":
        client(exclusions).get(f"{exclusions['path']}/@modification_time")
        ask(connect(databases["dict"]), STATE)
        return
    urls = [*[databases["dict"]] * CONNECTIONS_TO_DICT, *databases["shards"].values()]
    with ThreadPoolExecutor(len(urls) + 1) as pool:
        reading = pool.submit(read_list, exclusions)
        connections = list(pool.map(connect, urls))
        dicts, shards = connections[:CONNECTIONS_TO_DICT], connections[CONNECTIONS_TO_DICT:]
        feature = ask(dicts[0], STATE)[0][0]
        off = set().union(*pool.map(lambda shard: {row[0] for row in ask(shard, OFF, feature)}, shards))
        listed = set(reading.result())
        homes = sum(pool.map(lambda part: look_up(dicts[part], sorted(listed | off)[part::4]), range(4)))
        sys.stdout.write(f"{len(listed ^ off)} differ, {homes} live on a shard\n")


def look_up(connection: Any, ids: list[int]) -> int:
    """Look up where clients live, and return how many live anywhere."""
    parts = [ids[start : start + IDS_A_STATEMENT] for start in range(0, len(ids), IDS_A_STATEMENT)]
    return sum(len(ask(connection, HOMES.format(", ".join(["%s"] * len(part))), *part)) for part in parts)


def client(exclusions: dict[str, Any]) -> yt.wrapper.YtClient:
    """Return a client for the cluster."""
    return yt.wrapper.YtClient(proxy=exclusions["proxy"], config={"enable_token": False})


def read_list(exclusions: dict[str, Any]) -> list[int]:
    """Download the list."""
    stream = client(exclusions).read_table(
        exclusions["path"], format=SchemafulDsvFormat(columns=["client_id"]), raw=True
    )
    ids: list[int] = np.fromstring(stream.read().decode(), dtype=np.int64, sep="\n").tolist()
    return ids


if __name__ == "__main__":
    main()
