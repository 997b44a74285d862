"""The report of `explain`: one sentence, the facts, and a sentence to paste into a reply."""

import json
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from chatsync.core import DISABLED_FOREVER, Action, distance, format_time, older_message, short_time, until
from chatsync.diagnostics.answer import answer
from chatsync.diagnostics.explain import Cause, Chat, ClientFacts, JobFacts, Next, cause, chat, next_run
from chatsync.diagnostics.history import ClientChange, change_in_words
from chatsync.language import Language

_CHANGES_SHOWN = 3


def explain_report(clients: Sequence[ClientFacts], job: JobFacts, *, language: Language, output_format: str) -> str:
    """Return the report about each client. The sentence for the client is in `language`."""
    if output_format == "json":
        return json.dumps([_document(facts, job, language) for facts in clients], ensure_ascii=False)
    return "\n\n".join(_text(facts, job, language) for facts in clients)


def _text(facts: ClientFacts, job: JobFacts, language: Language) -> str:
    rows = [
        ("  list", _list(facts, job)),
        ("  lives on", _home(facts, job)),
        ("  rows", _rows(facts, job)),
        ("  changed by", _changed_by(facts, job)),
        ("  next run", _next(facts, job)),
        ("  answer", answer(facts, job, language)),
    ]
    table = tabulate(rows, tablefmt="plain", disable_numparse=True, preserve_whitespace=True)
    return f"{sentence(facts, job)}\n{table}"


def _state(facts: ClientFacts) -> str:
    return "off" if facts.is_off else "on"


def _verb(facts: ClientFacts) -> str:
    return "off" if facts.pending is Action.TURN_OFF else "on"


def _when(change: ClientChange) -> str:
    return short_time(change.record.began)


def sentence(facts: ClientFacts, job: JobFacts) -> str:
    """Return one sentence: whether the chat is on, why, and what caused it."""
    listed = {
        True: "the client is on the exclusion list",
        False: "the client is not on the exclusion list",
        None: "the exclusion list can't be read",
    }[facts.listed]
    listed += "".join(f", but {row}" for row in _rejected(facts)[:1])
    if job.dict_error:
        return f"Client {facts.client}: its chat is UNKNOWN, because the dict database can't be read, and {listed}."
    if chat(facts, job) is Chat.UNKNOWN:
        return f"Client {facts.client} lives on {_home(facts, job)}: its chat is UNKNOWN, and {listed}."
    linked = "and" if facts.listed is None else "because" if facts.listed == facts.is_off else "although"
    chat_is = f"the chat is {_state(facts).upper()}, {linked} {listed}"
    return f"Client {facts.client}: {chat_is}; {_cause(facts, job)}."


def _cause(facts: ClientFacts, job: JobFacts) -> str:
    kind, change = cause(facts)
    if change is None:
        if kind is Cause.NO_ROW:
            return "it has no row there, and without one the chat is on"
        if job.records_error:
            return "the cause is not known, because the records can't be read"
        if not job.records_kept:
            return "the cause is not known, because no records are kept (records.dir)"
        since = f"; the oldest record is of {short_time(job.oldest_record)}" if job.oldest_record else ""
        return f"no recorded run of this job did that{since}"
    was = f"turned it {'off' if change.action is Action.TURN_OFF else 'on'} at {_when(change)}"
    return {
        Cause.JOB: f"this job {was}",
        Cause.UNDO: f"an undo {was}",
        Cause.PERHAPS_JOB: f"the run of {_when(change)} may have done that: it was killed, lost its connection, "
        "or is still running",
    }.get(kind, f"this job {was}, and something else has changed it since")


def _list(facts: ClientFacts, job: JobFacts) -> str:
    if facts.listed is None or job.version is None:
        return f"can't be read: {job.list_error}"
    version = f"{job.version.source}, modified {short_time(job.version.modified)}"
    since = facts.listed_since
    if not facts.listed:
        return f"{version}: {'; '.join(['not listed', *_rejected(facts)])}"
    if since is None:
        return f"{version}: listed; no record shows since when"
    return f"{version}: listed since the list of {short_time(since.plan.list_time)} or earlier (run {since.id})"


def _rejected(facts: ClientFacts) -> list[str]:
    """Return rejected rows of the list that were probably meant for this client; none if it is listed."""
    rows = () if facts.listed else facts.rejected
    return [f"row {row.row} of the list holds {row.value!r}, which is not a client id" for row in rows]


def _home(facts: ClientFacts, job: JobFacts) -> str:
    if job.dict_error:
        return f"not known: {job.dict_error}"
    if facts.home is None:
        return "no shard, so the databases do not know it"
    if facts.home in job.shard_errors:
        return f"shard {facts.home}, which can't be read"
    return f"shard {facts.home}" + ("" if facts.home in job.shards else ", which is missing from databases.shards")


def _rows(facts: ClientFacts, job: JobFacts) -> str:
    away = [f"shard {shard}: can't be read" for shard in job.shard_errors]
    found = [
        f"shard {shard}: {'on' if on else 'off'}"
        + ("" if shard == facts.home else " (a stray row, not on its home shard: it is ignored)")
        for shard, on in facts.rows.items()
    ]
    none = "not known, without the feature's id of the dict database" if job.dict_error else "none on any shard"
    return ", ".join([*found, *away]) or none


def _changed_by(facts: ClientFacts, job: JobFacts) -> str:
    if job.records_error and not facts.client_changes:
        return f"not known: {job.records_error}"
    if not facts.client_changes:
        return "no recorded run" if job.records_kept else "no records are kept"
    lines = []
    for change in facts.client_changes[:_CHANGES_SHOWN]:
        record = change.record
        undo = f", undoing {record.undo_of}" if record.undo_of else ""
        lines.append(f"run {record.id} by {record.user}@{record.host}: {change_in_words(change)}{undo}")
    more = len(facts.client_changes) - len(lines)
    if more:
        lines.append(f"… and {more} more (`chatsync history --client {facts.client}`)")
    return "\n".join(lines)


def _until(job: JobFacts) -> str:
    modtime = (job.state.modtime if job.state else None) or DISABLED_FOREVER
    return until(modtime)


def _next(facts: ClientFacts, job: JobFacts) -> str:
    """Return what the next run will do for the client, or why it will do nothing."""
    verb = _verb(facts)
    after = f"; after that, a run would turn it {verb}" if facts.pending else ""
    compared = _compared(job)
    return {
        Next.NOTHING: "nothing to do for this client",
        Next.CHANGE: f"turns it {verb}{compared}",
        Next.FULL_RUN: "a run with --if-modified skips this list, because it is synced; "
        f"one without --if-modified turns it {verb}{compared}",
        Next.DISABLED: f"none: the job is disabled {_until(job)} (`chatsync set-modtime --reset` enables it){after}",
        Next.REFUSED: f"would turn it {verb}, but is refused: " + " | ".join(job.refusals),
        Next.ROW_REFUSED: f"tries to turn it {verb}, which {facts.refusal}",
        Next.LIST_OLDER: f"would turn it {verb}, but {_older(job)}",
        Next.NO_SHARD: "leaves the client out: it lives on no shard",
        Next.SHARD_MISSING: f"fails: shard {facts.home} is missing from databases.shards",
        Next.SHARD_AWAY: "fails as long as a shard can't be read",
        Next.NO_LIST: "fails as long as the list can't be read",
        Next.NO_EXPORT: f"fails as long as the export can't be read; a run with --live turns it {verb}",
        Next.NO_MODTIME: f"fails: {job.modtime_error}",
    }[next_run(facts, job)]


def _compared(job: JobFacts) -> str:
    """Return what a run compares the list with, where an export is configured."""
    if job.export is None or job.state is None:
        return ""
    if job.export.unused is not None:
        return f"; it reads the databases, as {job.export.unused}"
    age = f"as of {short_time(job.export.time)}, {distance(job.export.time, now=job.state.now)}"
    return f"; it compares with the export {age}, and a run with --live sees later changes of others as well"


def _older(job: JobFacts) -> str:
    if job.state is None or job.version is None:
        return "the list is older than the one that was synced"
    return older_message(job.state, list_time=job.version.modified)


def _document(facts: ClientFacts, job: JobFacts, language: Language) -> dict[str, Any]:
    kind, change = cause(facts)
    since = facts.listed_since
    return {
        "client_id": facts.client,
        "chat": chat(facts, job).value,
        "sentence": sentence(facts, job),
        "listed": facts.listed,
        "listed_since": {"run": since.id, "list_modified": since.plan.exclusions.modification_time} if since else None,
        "rejected_rows": [{"row": row.row, "value": row.value, "reason": row.reason} for row in facts.rejected],
        "shard": facts.home,
        "rows": {str(shard): "on" if on else "off" for shard, on in facts.rows.items()},
        "cause": kind.value,
        "by": _change_document(change) if change else None,
        "history": [_change_document(change) for change in facts.client_changes],
        "next_run": {"outcome": next_run(facts, job).value, "action": facts.pending, "text": _next(facts, job)},
        "state_from": "databases",
        "next_state_from": job.export and job.export.brief,
        "modtime": format_time(job.state.modtime) if job.state and job.state.modtime else None,
        "answer": answer(facts, job, language),
    }


def _change_document(change: ClientChange) -> dict[str, Any]:
    record = change.record
    return {
        "run": record.id,
        "action": change.action.value,
        "certain": change.certain,
        "started": record.started,
        "user": record.user,
        "host": record.host,
        "undo_of": record.undo_of,
    }
