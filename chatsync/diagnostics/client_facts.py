"""Collecting the facts about single clients. Writes nothing and takes no lock."""

from collections.abc import Iterable, Mapping, Sequence

from pyroaring import BitMap64

from chatsync.core import Action, limit_objections, storable
from chatsync.diagnostics.explain import ClientFacts, JobFacts, may_be_refused
from chatsync.diagnostics.history import client_changes, listed_since
from chatsync.diagnostics.survey import Survey
from chatsync.errors import ConfigError
from chatsync.sync.record import Record

# A person waits, and a few rows are read in no time: a shard that says nothing is left out.
_ANSWER_SECONDS = 4.0


def gather(survey: Survey, asked: Sequence[int]) -> tuple[JobFacts, list[ClientFacts]]:
    """Read the list, the clients' rows on every shard and the records.

    The whole list is read, once: there is no other way to know which clients are not on it. If the list or a
    shard can't be read, the other facts are still shown. Only if one of the clients waits for a change, all
    shards are read as well and compared with the list, to see whether a limit refuses the change.
    """
    survey.asked = BitMap64(asked)
    survey.look()
    survey.look_at_export()
    if isinstance(survey.errors.get("dict"), ConfigError):
        raise survey.errors["dict"]
    rows: Mapping[int, Mapping[int, bool]] = {}
    if (feature_id := survey.feature_id) is not None:
        ids = storable(survey.asked)
        rows = survey.ask_shards(lambda shard: shard.rows_among(feature_id, ids), within=_ANSWER_SECONDS)
    home_of = {client: shard for shard, here in survey.homes.items() for client in here}
    records = survey.read_records(about=survey.asked)
    clients = _clients(asked, survey, home_of=home_of, rows=rows, records=records)
    job = job_facts(survey)
    if any(may_be_refused(client, job) for client in clients):
        survey.compare()
        job = job.refused(refusals(survey))
    return job, clients


def job_facts(survey: Survey) -> JobFacts:
    """Return what holds for all clients, as far as it was seen; not whether a limit refuses the next plan."""
    errors = {part: str(error) for part, error in survey.errors.items()}
    shards = survey.settings.databases.shards
    return JobFacts(
        state=survey.state,
        version=survey.version,
        list_error=errors.get("list"),
        dict_error=errors.get("dict"),
        modtime_error=errors.get("mod-time") or errors.get("dict"),
        records_error=errors.get("records"),
        export=survey.export,
        export_error=errors.get("export"),
        shard_errors={shard: errors[f"shard {shard}"] for shard in shards if f"shard {shard}" in errors},
        shards=frozenset(shards),
        records_kept=bool(survey.settings.records.dir),
        oldest_record=survey.oldest_record(),
    )


def _clients(
    asked: Sequence[int],
    survey: Survey,
    *,
    home_of: Mapping[int, int],
    rows: Mapping[int, Mapping[int, bool]],
    records: Sequence[Record],
) -> list[ClientFacts]:
    refused = refused_in(records, survey.asked)
    done, since = client_changes(records, survey.asked), listed_since(records, survey.asked)
    return [
        ClientFacts(
            client=client,
            listed=None if survey.listed is None else client in survey.listed.ids,
            listed_since=since.get(client),
            home=home_of.get(client),
            rows={shard: rows[shard][client] for shard in sorted(rows) if client in rows[shard]},
            client_changes=done.get(client, ()),
            rejected=survey.rejected.get(client, ()),
            refused_in=refused.get(client),
        )
        for client in asked
    ]


def refused_in(records: Iterable[Record], asked: BitMap64) -> dict[int, Record]:
    """Return the run in which a server refused to write a client, unless a later run changed it. Newest run first."""
    found: dict[int, Record] = {}
    undecided = asked
    for record in records:
        refused = BitMap64().union(*(record.refused(action) for action in Action))
        found.update(dict.fromkeys(undecided & refused, record))
        undecided = undecided.difference(refused, *(record.touched(action) for action in Action))
    return found


def refusals(survey: Survey) -> tuple[str, ...]:
    """Return why the next plan would be refused; empty if it would not be."""
    if survey.plan is None:
        return tuple(str(error) for part, error in survey.errors.items() if part != "records")
    return tuple(objection.reason for objection in limit_objections(survey.plan, survey.settings.limits))
