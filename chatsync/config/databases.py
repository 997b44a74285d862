"""The sections of the databases: a URL for the dict database, for each shard, and for the replicas to watch."""

import stat
from collections.abc import Mapping
from pathlib import Path

from chatsync.config.database_url import DatabaseUrl
from chatsync.config.settings import Databases, DatabaseUrls, Settings
from chatsync.config.urls import parse_url

_MAX_SHARD = 255  # shard_client_id.shard is a TINYINT UNSIGNED


def read_databases(section: DatabaseUrls, *, base: Path) -> Databases:
    """Split the URLs and check the names of the shards. Raises ValueError that names the key."""
    shards = _shard_urls(section.shards, "databases.shards", base=base)
    if not shards:
        raise ValueError("databases.shards: name at least one shard")
    _refuse_doubles(shards)
    replicas = _shard_urls(section.replicas, "databases.replicas", base=base)
    stray = sorted(set(replicas) - set(shards))
    if stray:
        raise ValueError(f"databases.replicas.{stray[0]}: there is no such shard in databases.shards")
    return Databases(dict=_url(section.dict, "databases.dict", base=base), shards=shards, replicas=replicas)


def _refuse_doubles(shards: Mapping[int, DatabaseUrl]) -> None:
    """Raise ValueError for two shards with the same URL (a copy-and-paste error): one shard would never be read."""
    first: dict[str, int] = {}
    for shard, url in shards.items():
        other = first.setdefault(str(url), shard)
        if other != shard:
            raise ValueError(f"databases.shards.{shard}: the same database as shard {other}, {url}")


def _shard_urls(table: Mapping[str, str], key: str, *, base: Path) -> dict[int, DatabaseUrl]:
    urls = {}
    for name, url in table.items():
        if name not in map(str, range(_MAX_SHARD + 1)):
            raise ValueError(f"{key}.{name}: the name of a shard is its number in shard_client_id, 0 to {_MAX_SHARD}")
        urls[int(name)] = _url(url, f"{key}.{name}", base=base)
    return dict(sorted(urls.items()))


def _url(url: str, key: str, *, base: Path) -> DatabaseUrl:
    try:
        return parse_url(url, base=base)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def exposed_files(settings: Settings) -> list[Path]:
    """Return the files that hold a password and are readable by users other than their owner."""
    urls = [settings.databases.dict, *settings.databases.shards.values(), *settings.databases.replicas.values()]
    holders = {url.option_file for url in urls if url.option_file}
    if any(url.password_is_literal for url in urls):
        holders.add(settings.path)
    return sorted(file for file in holders if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
