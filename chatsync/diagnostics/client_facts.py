"""Gathering what there is to know about single clients. Writes nothing and takes no lock."""

from collections.abc import Mapping, Sequence
from operator import itemgetter

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.client_sets import IdsByShard, storable
from chatsync.core.diff import ExclusionList, ListVersion
from chatsync.core.modtime import DictState
from chatsync.core.objections import refusals
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.homes import homes_over
from chatsync.databases.shard_database import on_every_shard
from chatsync.diagnostics.explain import ClientFacts, JobFacts, may_be_refused
from chatsync.diagnostics.history import client_changes, listed_since
from chatsync.errors import ChatsyncError, DatabaseError, DeadlineError, PropertyError, SourceError, StoppedError
from chatsync.exclusions import open_list
from chatsync.progress import Progress
from chatsync.sync.planner import make_plan
from chatsync.sync.records import Record, Records


def gather(
    settings: Settings, scope: CancelScope, asked: Sequence[int], *, trace_id: str, progress: Progress
) -> tuple[JobFacts, list[ClientFacts]]:
    """Read the list, the clients' rows on every shard and the records.

    The list is read whole, for there is no other way to know who is not on it; if it or a shard
    can't be read, the rest is told all the same. Only when an asked client awaits a change is a
    whole diff made too, to see whether a limit refuses it.
    """
    version, listed, list_error = _list(settings, scope, progress)
    records = _records(settings)
    with DictDatabase(settings, scope) as dict_database:
        feature_id = dict_database.feature_id()
        homes = homes_over(dict_database.database, BitMap64(asked))
        state, modtime_error = _state(dict_database)
    rows, shard_errors = _rows(settings, scope, feature_id, storable(BitMap64(asked)))
    clients = _clients(asked, listed=listed, homes=homes, rows=rows, records=records)
    job = JobFacts(
        state=state,
        version=version,
        list_error=list_error,
        modtime_error=modtime_error,
        shard_errors=shard_errors,
        shards=frozenset(settings.databases.shards),
        records_kept=Records(settings.records).kept,
        oldest_record=records[-1].began if records else None,
    )
    if any(may_be_refused(client, job) for client in clients):
        job = job.refused(_refusals(settings, scope, trace_id=trace_id, progress=progress))
    return job, clients


def _clients(
    asked: Sequence[int],
    *,
    listed: ExclusionList | None,
    homes: IdsByShard,
    rows: Mapping[int, Mapping[int, bool]],
    records: Sequence[Record],
) -> list[ClientFacts]:
    home_of = {client: shard for shard, here in homes.items() for client in here}
    done, since = client_changes(records, BitMap64(asked)), listed_since(records, BitMap64(asked))
    return [
        ClientFacts(
            client=client,
            listed=None if listed is None else client in listed.ids,
            listed_since=since.get(client),
            home=home_of.get(client),
            rows={shard: rows[shard][client] for shard in sorted(rows) if client in rows[shard]},
            client_changes=done.get(client, ()),
        )
        for client in asked
    ]


def _state(dict_database: DictDatabase) -> tuple[DictState | None, str | None]:
    """Read the mod-time; when it is no time, say so."""
    try:
        return dict_database.state(), None
    except PropertyError as error:
        return None, str(error)


def _list(
    settings: Settings, scope: CancelScope, progress: Progress
) -> tuple[ListVersion | None, ExclusionList | None, str | None]:
    """Read the list; when that fails, say why."""
    version = None
    try:
        with open_list(settings, scope) as source:
            version = source.version
            with progress("reading the list", version.rows or 0) as advance:
                return version, source.read(advance), None
    except SourceError as error:
        return version, None, str(error)


def _records(settings: Settings) -> list[Record]:
    """Read the records of this feature, the newest first."""
    records = Records(settings.records)
    if not records.kept:
        return []
    return [record for record in records.newest() if record.plan.feature.name == settings.feature.name]


def _rows(
    settings: Settings, scope: CancelScope, feature_id: int, ids: BitMap64
) -> tuple[dict[int, dict[int, bool]], dict[int, str]]:
    """Read the clients' rows on every shard, as one may be where its client does not live; say why where that fails."""
    asked = on_every_shard(settings, scope, lambda shard: shard.rows_among(feature_id, ids))
    rows, errors = {}, {}
    for shard, ended in sorted(asked.outcomes(scope), key=itemgetter(0)):
        if isinstance(ended.error, DatabaseError):
            errors[shard] = str(ended.error)
        else:
            rows[shard] = ended.unwrap()
    return rows, errors


def _refusals(settings: Settings, scope: CancelScope, *, trace_id: str, progress: Progress) -> tuple[str, ...]:
    """Say why the next run would change nothing at all; nothing when it would."""
    try:
        plan, _ = make_plan(settings, scope, trace_id=trace_id, if_modified=False, progress=progress)
        return tuple(map(str, refusals(plan, settings.limits)))
    except (StoppedError, DeadlineError):
        raise
    except ChatsyncError as error:
        return (str(error),)
