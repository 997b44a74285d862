"""Every key of the configuration with its type, limits, default and description.

This file is the reference: every key that is not a field here is unknown. The text in each `Annotated`
describes the key for users; docs/configuration.md is generated from it (`make docs`).
"""

from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from chatsync.config.database_url import DatabaseUrl
from chatsync.config.durations import Seconds, Wait
from chatsync.config.export import Export
from chatsync.config.limits import Limits as Limits  # noqa: PLC0414  # these names others import from here
from chatsync.config.section import Count as Count  # noqa: PLC0414  # as above
from chatsync.config.section import Name
from chatsync.config.section import Section as Section  # noqa: PLC0414  # as above

DEFAULT_PROPERTY = "CHECKED_SUPPORT_CHAT_FEATURE_LAST_SYNCED_MOD_TIME"


class Exclusions(Section, frozen=True, kw_only=True):
    """Where the exclusion list is: a YT table (`proxy` and `path`), or a file (`file`)."""

    proxy: Annotated[str, "the YT cluster, or the http(s) URL of its proxy; default: `$YT_PROXY`"] = ""
    path: Annotated[str, "path of the table, or of a link to it"] = ""
    column: Annotated[Name, "the column with the client ids: int64, uint64, or strings of digits"] = "client_id"
    token_file: Annotated[
        str,
        "file that holds the YT token; the token is looked for in `$YT_TOKEN`, here, in the file `$YT_TOKEN_PATH`, "
        "and in `~/.yt/token`, in this order",
    ] = ""
    use_hosts: Annotated[
        bool | None,
        "whether to read rows through the heavy proxies that the cluster names; `false` if only `proxy` can be "
        "reached; default: `$YT_USE_HOSTS`, else true",
    ] = None
    file: Annotated[
        str,
        "a list in a file, instead of `proxy` and `path`: a CSV with a header, or one id a line; "
        "its modification time is that of the file",
    ] = ""
    settle: Annotated[
        Seconds, "a list in a file is not read until it has not changed for this long: it may be half of an upload"
    ] = Seconds.parse("10s")


class Feedback(Section, frozen=True, kw_only=True):
    """The table for the owners of a list in YT, with the rows that a run leaves out."""

    path: Annotated[
        str,
        "a table on the cluster of the list: each `diff` that reads the list replaces it by the rows that are left "
        "out; not written without it",
    ] = ""


class Feature(Section, frozen=True, kw_only=True):
    """The feature that is turned off for the listed clients."""

    name: Annotated[Name, "the feature, by its `feature_text_id` in the table `features`"] = "checked_support_chat"


class Modtime(Section, frozen=True, kw_only=True):
    """Where the mod-time is kept: the modification time of the list that was last synced in full."""

    property: Annotated[
        Name,
        "the row of `ppc_properties` that holds the mod-time; default for the feature `checked_support_chat` only: "
        f"`{DEFAULT_PROPERTY}`; another feature needs its own property",
    ] = ""
    timezone: Annotated[str, "time zone of stored and given times that have no UTC offset"] = "UTC"


class Apply(Section, frozen=True, kw_only=True):
    """How fast the changes are written."""

    batch_size: Annotated[int, Meta(ge=1, le=30_000), "rows in one transaction, 1 to 30000"] = 1000
    pause: Annotated[Wait, "how long to wait between two batches on a shard"] = Wait.parse("0s")
    parallel_shards: Annotated[int, Meta(ge=1, le=256), "shards that are written to at the same time, 1 to 256"] = 4
    max_lag: Annotated[
        Wait | None,
        "before each batch, wait while the shard's replica (`databases.replicas`) lags by more than this",
    ] = None
    max_lag_wait: Annotated[Seconds, "how long to wait for that replica before giving up"] = Seconds.parse("5m")


class Run(Section, frozen=True, kw_only=True):
    """How long one command may take, and how long a step is retried."""

    deadline: Annotated[Seconds, "the longest that one command may take, retries and waits included"] = Seconds.parse(
        "20m"
    )
    retry_timeout: Annotated[
        Seconds,
        "how long one step is retried, from its first temporary failure on; a server that does not answer counts as "
        "failed after this time for a read (at least 5s), and after 60s for a write",
    ] = Seconds.parse("1m")


class Records(Section, frozen=True, kw_only=True):
    """Where the records of applied changes are kept, for `history`, `explain` and `apply --undo`."""

    dir: Annotated[str, "folder of the records; without it, no records are kept"] = ""
    keep: Annotated[Seconds, "how long a record is kept"] = Seconds.parse("90d")


class Metrics(Section, frozen=True, kw_only=True):
    """Metrics for Prometheus."""

    textfile: Annotated[
        str, "file for the textfile collector of the Prometheus node exporter; its name must end in `.prom`"
    ] = ""


class Monitoring(Section, frozen=True, kw_only=True):
    """What `chatsync check` reports, and which drift it accepts."""

    host: Annotated[str, "the host in events of `check --format juggler`; default: the name of this machine"] = ""
    service: Annotated[Name, "the service in those events"] = "jobs.CheckedSupportChatSyncJob.working.production"
    drift_tolerance: Annotated[Count, "with `check --drift`: up to this many outstanding changes are OK"] = 0
    state_file: Annotated[
        str,
        "file in which `check` keeps since when the list has been waiting; without it, the waiting time starts again "
        "at each write of the list, so a list that is written every hour never looks late",
    ] = ""


class Logs(Section, frozen=True, kw_only=True):
    """The names of the job in JSON log lines, so that saved searches find them."""

    service: Annotated[Name, "the field `service` of JSON log lines"] = "chatsync"
    method: Annotated[str, "the field `method` of JSON log lines; default: the name of the command"] = ""


class Notify(Section, frozen=True, kw_only=True):
    """A command that runs when the state of the job changes (not on every run)."""

    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        "the program and its arguments; it gets the new and the old state as JSON on standard input",
    ] = ()
    timeout: Annotated[Seconds, "the command is stopped after this time"] = Seconds.parse("10s")
    waiting: Annotated[Seconds, "notify of a list that is still not synced after this time, for any reason"] = (
        Seconds.parse("2h")
    )


class People(Section, frozen=True, kw_only=True):
    """Sentences for people outside the team."""

    language: Annotated[
        str,
        Meta(pattern="^(en|ru)$"),
        "the language of `explain`'s answer and of the page that `report` writes: `en` or `ru`",
    ] = "en"


class DatabaseUrls(Section, frozen=True, kw_only=True):
    """The URLs of the databases: `mysql://user:password@host:port/schema`, or `sqlite:///FILE`."""

    dict: Annotated[str, "the database `ppcdict`"]
    shards: Annotated[Mapping[str, str], "each shard of `ppc`, by its number in `shard_client_id`; name all shards"]
    replicas: Annotated[
        Mapping[str, str], "the URL of a replica of a shard, by the shard's number: `apply.max_lag` is about its lag"
    ] = {}


class File(Section, frozen=True, kw_only=True):
    """The whole file."""

    exclusions: Exclusions
    databases: DatabaseUrls
    feedback: Feedback = Feedback()
    feature: Feature = Feature()
    modtime: Modtime = Modtime()
    export: Export = Export()
    limits: Limits = Limits()
    apply: Apply = Apply()
    run: Run = Run()
    records: Records = Records()
    metrics: Metrics = Metrics()
    monitoring: Monitoring = Monitoring()
    logs: Logs = Logs()
    notify: Notify = Notify()
    people: People = People()


class Databases(Section, frozen=True, kw_only=True):
    """The databases: the dict database, each shard, and replicas whose lag is watched."""

    dict: DatabaseUrl
    shards: Mapping[int, DatabaseUrl]
    replicas: Mapping[int, DatabaseUrl]


class Traces(Section, frozen=True, kw_only=True):
    """The sections that say where a command writes logs, records and metrics, and for which feature."""

    feature: Feature
    records: Records
    metrics: Metrics
    notify: Notify


class Settings(Traces, frozen=True, kw_only=True):
    """The checked configuration: relative paths made absolute, variables filled in."""

    path: Path
    exclusions: Exclusions
    export: Export
    feedback: Feedback
    modtime: Modtime
    timezone: tzinfo
    databases: Databases
    limits: Limits
    apply: Apply
    run: Run
    monitoring: Monitoring
    logs: Logs
    people: People
