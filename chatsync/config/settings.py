"""Every key of the configuration, with its type, its bounds and its default.

This file is the reference: what is not a field here is an unknown key.
"""

import re
from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from chatsync.config.urls import DatabaseUrl

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = 36_500 * _UNITS["d"]
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)


class Seconds(float):
    """A length of time in seconds, written in the file as `"90s"`, `"20m"`, `"1h30m"` or `"90d"`."""

    @classmethod
    def parse(cls, text: object) -> "Seconds":
        """Read a duration. Raises ValueError for anything else, and for no time at all."""
        if not isinstance(text, str) or not _DURATION.fullmatch(text):
            msg = 'expected a duration such as "90s", "20m" or "1h30m"'
            raise ValueError(msg)
        parts = re.findall(r"([\d.]+)([smhdw])", text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if not seconds:
            msg = "a duration must be longer than nothing"
            raise ValueError(msg)
        if seconds > _LONGEST:
            msg = "a duration of more than 36500d"
            raise ValueError(msg)
        return cls(seconds)


Percent = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
ClientId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class Exclusions(Section, frozen=True, kw_only=True):
    """Where the list is: a YT table, or a file."""

    proxy: str = ""
    path: str = ""
    column: Name = "client_id"
    token_file: str = ""
    file: str = ""


class Feature(Section, frozen=True, kw_only=True):
    """The feature that listed clients must not have."""

    name: Name = "checked_support_chat"


class Modtime(Section, frozen=True, kw_only=True):
    """Where the time of the last synced list is kept."""

    property: Name = "CHECKED_SUPPORT_CHAT_FEATURE_LAST_SYNCED_MOD_TIME"
    timezone: str = "UTC"


class Limits(Section, frozen=True, kw_only=True):
    """What a plan may do without a person's word for it."""

    turn_on_percent: Percent = 30
    turn_off_percent: Percent = 30
    free: Count = 20
    turn_on_max: Count | None = None
    turn_off_max: Count | None = None
    rejected_percent: Percent = 1
    unknown_percent: Percent = 10
    must_contain: tuple[ClientId, ...] = ()
    plan_max_age: Seconds = Seconds.parse("1h")


class Apply(Section, frozen=True, kw_only=True):
    """The pace of writing."""

    batch_size: Annotated[int, Meta(ge=1, le=30_000)] = 1000
    pause: Annotated[float, Meta(ge=0)] = 0
    parallel_shards: Annotated[int, Meta(ge=1, le=256)] = 4
    max_lag: Annotated[float, Meta(ge=0)] | None = None
    max_lag_wait: Seconds = Seconds.parse("5m")


class Run(Section, frozen=True, kw_only=True):
    """How long one command may take, and how long it may try again."""

    deadline: Seconds = Seconds.parse("20m")
    retry_timeout: Seconds = Seconds.parse("1m")


class Records(Section, frozen=True, kw_only=True):
    """Where each apply that changed something leaves a record, and for how long."""

    dir: str = ""
    keep: Seconds = Seconds.parse("90d")


class Metrics(Section, frozen=True, kw_only=True):
    """Where the metrics are written for a collector of text files."""

    textfile: str = ""


class Monitoring(Section, frozen=True, kw_only=True):
    """How the check names itself to monitoring, what it lets pass, and where it remembers what it saw."""

    host: str = ""
    service: Name = "jobs.CheckedSupportChatSyncJob.working.production"
    drift_tolerance: Count = 0
    state_file: str = ""


class DatabaseUrls(Section, frozen=True, kw_only=True):
    """The URLs as they stand in the file, before they are split."""

    dict: str
    shards: Mapping[str, str]
    replicas: Mapping[str, str] = {}


class File(Section, frozen=True, kw_only=True):
    """The whole file."""

    exclusions: Exclusions
    databases: DatabaseUrls
    feature: Feature = Feature()
    modtime: Modtime = Modtime()
    limits: Limits = Limits()
    apply: Apply = Apply()
    run: Run = Run()
    records: Records = Records()
    metrics: Metrics = Metrics()
    monitoring: Monitoring = Monitoring()


class Databases(Section, frozen=True, kw_only=True):
    """The databases: the dictionary, each shard, and a replica of a shard where lag matters."""

    dict: DatabaseUrl
    shards: Mapping[int, DatabaseUrl]
    replicas: Mapping[int, DatabaseUrl]


class Settings(Section, frozen=True, kw_only=True):
    """The configuration, checked. Relative paths have become absolute, variables are filled in."""

    path: Path
    exclusions: Exclusions
    feature: Feature
    modtime: Modtime
    timezone: tzinfo
    databases: Databases
    limits: Limits
    apply: Apply
    run: Run
    records: Records
    metrics: Metrics
    monitoring: Monitoring
