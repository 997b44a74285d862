"""Every key of the configuration, with its type, its bounds, its default and one line about it.

This file is the reference: what is not a field here is an unknown key. The text in each `Annotated`
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
from chatsync.config.section import Count as Count  # noqa: PLC0414
from chatsync.config.section import Name
from chatsync.config.section import Section as Section  # noqa: PLC0414

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
        "whether rows are read through the heavy proxies that the cluster names; `false` where only `proxy` can be "
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
    """What the owners of a list in YT are told."""

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
        f"`{DEFAULT_PROPERTY}`; another feature needs one of its own",
    ] = ""
    timezone: Annotated[str, "time zone of stored and given times that have no UTC offset"] = "UTC"


class Apply(Section, frozen=True, kw_only=True):
    """The pace of writing."""

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
    retry_timeout: Annotated[Seconds, "how long one step is retried after a temporary failure"] = Seconds.parse("1m")


class Records(Section, frozen=True, kw_only=True):
    """Where the records of applied changes are kept, for `history`, `explain` and `apply --undo`."""

    dir: Annotated[str, "folder of the records; no records are kept without it"] = ""
    keep: Annotated[Seconds, "how long a record is kept"] = Seconds.parse("90d")


class Metrics(Section, frozen=True, kw_only=True):
    """Metrics for Prometheus."""

    textfile: Annotated[
        str, "file for the textfile collector of the Prometheus node exporter; its name must end in `.prom`"
    ] = ""


class Monitoring(Section, frozen=True, kw_only=True):
    """What `chatsync check` reports, and what it tolerates."""

    host: Annotated[str, "the host in events of `check --format juggler`; default: the name of this machine"] = ""
    service: Annotated[Name, "the service in those events"] = "jobs.CheckedSupportChatSyncJob.working.production"
    drift_tolerance: Annotated[Count, "with `check --drift`: so many outstanding changes are still OK"] = 0
    state_file: Annotated[
        str,
        "file where `check` remembers since when the list waits; without it, only the last write of the list counts, "
        "so a list that is written every hour never looks late",
    ] = ""


class Logs(Section, frozen=True, kw_only=True):
    """How JSON log lines name the job, so that a saved search finds them."""

    service: Annotated[Name, "the field `service` of JSON log lines"] = "chatsync"
    method: Annotated[str, "the field `method` of JSON log lines; default: the name of the command"] = ""


class Notify(Section, frozen=True, kw_only=True):
    """A command that is run when the state of the job changes, and not on every run."""

    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        "the program and its arguments; it gets the new and the old state as JSON on standard input",
    ] = ()
    timeout: Annotated[Seconds, "the command is stopped after this time"] = Seconds.parse("10s")
    waiting: Annotated[Seconds, "a list that is still not synced after this time is told, whatever holds it up"] = (
        Seconds.parse("2h")
    )


class People(Section, frozen=True, kw_only=True):
    """How people outside the team are answered."""

    language: Annotated[
        str,
        Meta(pattern="^(en|ru)$"),
        "the language of `explain`'s answer and of the page that `report` writes: `en` or `ru`",
    ] = "en"


class DatabaseUrls(Section, frozen=True, kw_only=True):
    """The URLs of the databases: `mysql://user:password@host:port/schema`, or `sqlite:///FILE`."""

    dict: Annotated[str, "the database `ppcdict`"]
    shards: Annotated[Mapping[str, str], "each shard of `ppc`, by its number in `shard_client_id`; all of them"]
    replicas: Annotated[
        Mapping[str, str], "a replica of a shard, by the shard's number: its lag counts for `apply.max_lag`"
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
    """The databases: the dictionary, each shard, and a replica of a shard where lag matters."""

    dict: DatabaseUrl
    shards: Mapping[int, DatabaseUrl]
    replicas: Mapping[int, DatabaseUrl]


class Traces(Section, frozen=True, kw_only=True):
    """What says where a command leaves its traces, and for which feature."""

    feature: Feature
    records: Records
    metrics: Metrics
    notify: Notify


class Settings(Traces, frozen=True, kw_only=True):
    """The configuration, checked. Relative paths have become absolute, variables are filled in."""

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
