"""Gathering what there is to know about single clients. Writes nothing and takes no lock."""

from collections.abc import Mapping, Sequence

from pyroaring import BitMap64

from chatsync.core.client_sets import storable
from chatsync.core.objections import limit_objections
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.homes import homes_over
from chatsync.diagnostics.explain import ClientFacts, JobFacts, may_be_refused
from chatsync.diagnostics.history import client_changes, listed_since
from chatsync.diagnostics.survey import Survey
from chatsync.errors import RecordError
from chatsync.progress import Progress
from chatsync.sync.record import Record
from chatsync.sync.records import Records

# A person waits, and a few rows are read in no time: a shard that says nothing is left out.
_ANSWER_SECONDS = 5.0


def gather(
    survey: Survey, asked: Sequence[int], *, trace_id: str, progress: Progress
) -> tuple[JobFacts, list[ClientFacts]]:
    """Read the list, the clients' rows on every shard and the records.

    The list is read whole and once: that is the only way to know who is not on it. If it or a shard
    can't be read, the rest is told all the same. Only when an asked client awaits a change are all
    shards read as well and compared with the list, to see whether a limit refuses the change.
    """
    survey.read_list_and_dict(progress)
    if (feature_id := survey.feature_id) is None:
        raise survey.errors["dict"]
    with DictDatabase(survey.settings, survey.scope) as dict_database:
        homes = homes_over(dict_database.database, BitMap64(asked))
    ids = storable(BitMap64(asked))
    rows = survey.ask_shards(lambda shard: shard.rows_among(feature_id, ids), within=_ANSWER_SECONDS)
    home_of = {client: shard for shard, here in homes.items() for client in here}
    records = _records(survey)
    clients = _clients(asked, survey, home_of=home_of, rows=rows, records=records)
    job = _job(survey, records)
    if any(may_be_refused(client, job) for client in clients):
        survey.compare(trace_id=trace_id)
        job = job.refused(_refusals(survey))
    return job, clients


def _job(survey: Survey, records: Sequence[Record]) -> JobFacts:
    errors = {part: str(error) for part, error in survey.errors.items()}
    shards = survey.settings.databases.shards
    return JobFacts(
        state=survey.state,
        version=survey.version,
        list_error=errors.get("list"),
        modtime_error=errors.get("mod-time"),
        records_error=errors.get("records"),
        shard_errors={shard: errors[f"shard {shard}"] for shard in shards if f"shard {shard}" in errors},
        shards=frozenset(shards),
        records_kept=Records(survey.settings.records).kept,
        oldest_record=records[-1].began if records else None,
    )


def _clients(
    asked: Sequence[int],
    survey: Survey,
    *,
    home_of: Mapping[int, int],
    rows: Mapping[int, Mapping[int, bool]],
    records: Sequence[Record],
) -> list[ClientFacts]:
    done, since = client_changes(records, BitMap64(asked)), listed_since(records, BitMap64(asked))
    return [
        ClientFacts(
            client=client,
            listed=None if survey.listed is None else client in survey.listed.ids,
            listed_since=since.get(client),
            home=home_of.get(client),
            rows={shard: rows[shard][client] for shard in sorted(rows) if client in rows[shard]},
            client_changes=done.get(client, ()),
        )
        for client in asked
    ]


def _records(survey: Survey) -> list[Record]:
    """Read the records of this feature, the newest first; a folder that may not be read is noted."""
    records = Records(survey.settings.records)
    if not records.kept:
        return []
    try:
        return [record for record in records.newest() if record.plan.feature.name == survey.settings.feature.name]
    except RecordError as error:
        survey.errors["records"] = error
        return []


def _refusals(survey: Survey) -> tuple[str, ...]:
    """Return why the next run would change nothing at all; nothing when it would."""
    if survey.plan is None:
        return tuple(str(error) for part, error in survey.errors.items() if part != "records")
    return tuple(objection.reason for objection in limit_objections(survey.plan, survey.settings.limits))
