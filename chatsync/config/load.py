"""The configuration file: read once, checked as a whole, then immutable.

Unknown keys, wrong types and values out of range are refused here and nowhere else, with the name of the key.
"""

import difflib
import logging
import math
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

from chatsync.config.databases import exposed_files, read_databases
from chatsync.config.durations import Seconds
from chatsync.config.export import SHARD, Export
from chatsync.config.settings import (
    DEFAULT_PROPERTY,
    Exclusions,
    Feature,
    Feedback,
    File,
    Modtime,
    Notify,
    Section,
    Settings,
)
from chatsync.config.urls import check_cluster, check_table_path, keep_secrets_in
from chatsync.config.variables import fill_in, read_small, valid_text
from chatsync.errors import ConfigError
from chatsync.redaction import without_secrets

_MOD_TIME, _LAST_APPLY = "_LAST_SYNCED_MOD_TIME", "_LAST_APPLY_TIME"
_LONGEST_PROPERTY = 100  # ppc_properties.name is VARCHAR(100)

_MAX_KEY = 60
_MAX_MESSAGE = 500

logger = logging.getLogger(__name__)


def load(path: Path) -> Settings:
    """Read and check the file. Raises ConfigError that names the file and the key."""
    try:
        text = read_small(path)
        keep_secrets_in(text)
        raw = tomllib.loads(text)
        _refuse_unknown_keys(raw, File)
        filled = {key: value if key == "databases" else fill_in_all(value, key) for key, value in raw.items()}
        file = msgspec.convert(filled, File, dec_hook=custom_type)
        settings = _settings(file, path=path)
    except OSError as error:
        raise ConfigError(f"configuration {path}: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"configuration {path}: its values are nested too deep") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration {path}: {_readable(str(error))}") from None
    except ValueError as error:  # not TOML, not UTF-8, or one of the checks below
        raise ConfigError(f"configuration {path}: {_shortened(str(error))}") from None
    for exposed in exposed_files(settings):
        logger.warning("%s holds a password and others may read it: chmod 600", exposed)
    return settings


def custom_type(kind: type, value: object) -> object:
    """Read a value of a type that TOML does not know."""
    if issubclass(kind, Seconds):
        return kind.parse(value)
    raise NotImplementedError(kind)


def fill_in_all(value: Any, key: str) -> Any:
    """Fill in variables in every string below `key`. Raises ValueError that names the key."""
    if isinstance(value, Mapping):
        return {name: fill_in_all(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        # TOML allows nan, and no comparison with nan is true: a limit of nan would never be exceeded.
        raise ValueError(f"{key}: expected a number, got {value}")
    if isinstance(value, list):
        return [fill_in_all(item, key) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return valid_text(fill_in(value))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _refuse_unknown_keys(table: Mapping[str, Any], kind: type[Section], where: str = "") -> None:
    """Raise ValueError for an unknown key; the message names the most similar known key."""
    known = get_type_hints(kind)
    for key, value in table.items():
        if key not in known:
            key = _shortened(key, _MAX_KEY)  # noqa: PLW2901  # comparing a very long key would take minutes
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise ValueError(f"unknown key {where}{key}; did you mean {where}{nearest}?")
        section = known[key]
        if isinstance(value, Mapping) and isinstance(section, type) and issubclass(section, Section):
            _refuse_unknown_keys(value, section, f"{where}{key}.")


def _shortened(text: str, length: int = _MAX_MESSAGE) -> str:
    """Return a text cut to one line. Secrets are removed before, because half a secret would not be recognised."""
    text = " ".join(without_secrets(text).split())
    return text if len(text) <= length else f"{text[:length]}…"


def _readable(message: str) -> str:
    """Reformat "Expected `int`, got `str` - at `$.limits.free`" as "limits.free: expected int, …"."""
    text, _, place = message.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    text = text.replace("`", "").replace("Object missing required field", "missing key")
    return f"{key}: {text[0].lower()}{text[1:]}" if key else f"{text[0].lower()}{text[1:]}"


def _settings(file: File, *, path: Path) -> Settings:
    if file.apply.max_lag is not None and not file.databases.replicas:
        raise ValueError("apply.max_lag: name the replicas to watch in databases.replicas")
    base = path.absolute().parent
    modtime = _modtime(file.modtime, feature=file.feature.name)
    return Settings(
        path=path,
        exclusions=_exclusions(file.exclusions, base=base),
        feedback=_feedback(file),
        feature=file.feature,
        modtime=modtime,
        export=_export(file.export, list_file=file.exclusions.file, modtime_property=modtime.property),
        timezone=_timezone(file.modtime.timezone),
        databases=read_databases(file.databases, base=base),
        limits=file.limits,
        apply=file.apply,
        run=file.run,
        records=msgspec.structs.replace(file.records, dir=absolute(file.records.dir, base=base)),
        metrics=msgspec.structs.replace(file.metrics, textfile=absolute(file.metrics.textfile, base=base)),
        logs=file.logs,
        notify=_notify(file),
        people=file.people,
        monitoring=msgspec.structs.replace(file.monitoring, state_file=absolute(file.monitoring.state_file, base=base)),
    )


def _notify(file: File) -> Notify:
    if file.notify.command and not file.records.dir:
        raise ValueError("notify.command: needs records.dir: the step log there shows when the state changes")
    return file.notify


def _modtime(section: Modtime, *, feature: str) -> Modtime:
    """Fill in the default property, for its own feature only: two features with one property would miss changes."""
    if section.property:
        return section
    if feature == Feature().name:
        return msgspec.structs.replace(section, property=DEFAULT_PROPERTY)
    proposed = DEFAULT_PROPERTY.replace(Feature().name.upper(), re.sub(r"\W+", "_", feature.upper()))[:100]
    raise ValueError(f"modtime.property: feature {feature!r} needs a property of its own; for example {proposed!r}")


def _exclusions(section: Exclusions, *, base: Path) -> Exclusions:
    """Check that there is exactly one source; the proxy may come from $YT_PROXY, or later from the YT client."""
    if section.file:
        if section.path or section.proxy:
            raise ValueError("exclusions: give either file, or proxy and path, not both")
        return msgspec.structs.replace(section, file=str(base / section.file))
    if not section.path:
        raise ValueError("missing key exclusions.path (or exclusions.file)")
    proxy = section.proxy or os.environ.get("YT_PROXY", "")
    check_cluster(proxy)
    check_table_path(section.path, key="exclusions.path")
    token_file = str(base / section.token_file) if section.token_file else ""
    return msgspec.structs.replace(section, proxy=proxy, token_file=token_file)


def _export(section: Export, *, list_file: str, modtime_property: str) -> Export:
    """Check where the export is, and fill in the name of the property of the last apply."""
    if not section.path:
        if section != Export():
            raise ValueError("missing key export.path")
        return section
    if list_file:
        raise ValueError("export.path: list and export must be in one cluster, so the list must be exclusions.path")
    if (SHARD in section.path) == bool(section.shard_column):
        raise ValueError(
            f"export.path: expected either {SHARD} in the path of a table for each shard, or export.shard_column for "
            "one table with all shards"
        )
    check_table_path(section.table_of(1), key="export.path")
    return msgspec.structs.replace(section, property=_property(section, modtime_property))


def _property(section: Export, modtime_property: str) -> str:
    name = section.property or modtime_property.removesuffix(_MOD_TIME) + _LAST_APPLY
    if name == modtime_property:
        raise ValueError("export.property: it must differ from modtime.property")
    if len(name) > _LONGEST_PROPERTY:
        raise ValueError(f"export.property: expected at most {_LONGEST_PROPERTY} characters, got {len(name)}")
    return name


def _feedback(file: File) -> Feedback:
    """Check that the table is another one than the list, and on its cluster."""
    path = file.feedback.path
    if path and file.exclusions.file:
        raise ValueError("feedback.path: needs a list in YT (exclusions.path), as the table is on its cluster")
    if path and path == file.exclusions.path:
        raise ValueError("feedback.path: this is the list itself (exclusions.path); name another table")
    if path:
        check_table_path(path, key="feedback.path")
    return file.feedback


def absolute(text: str, *, base: Path) -> str:
    """Return an absolute path for a path in the file; an empty one stays empty."""
    return str((base / text).absolute()) if text else ""


def _timezone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # for an absolute path, a folder, and an unknown name
        raise ValueError(f"modtime.timezone: no time zone {name!r}; expected a name such as Europe/Moscow") from None
