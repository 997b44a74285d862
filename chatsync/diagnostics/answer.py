"""The sentence about a client that a support person can paste into a reply, in the client's language."""

from datetime import datetime

from chatsync.core import DISABLED_FOREVER, Action
from chatsync.diagnostics.explain import Cause, Chat, ClientFacts, JobFacts, Next, cause, chat, next_run
from chatsync.language import Language

# The sentence about the next run: one for both directions, or one for each.
_OUTLOOKS = {
    Next.NOTHING: "answer.nothing",
    Next.DISABLED: "answer.disabled",
    Next.SHARD_AWAY: "answer.shard_away",
    Next.NO_LIST: "answer.no_list",
    Next.NO_MODTIME: "answer.no_modtime",
}
_OUTLOOKS_OF_A_CHANGE = {
    Next.CHANGE: "answer.change",
    Next.FULL_RUN: "answer.full_run",
    Next.REFUSED: "answer.refused",
    Next.ROW_REFUSED: "answer.row_refused",
    Next.LIST_OLDER: "answer.list_older",
    Next.NO_EXPORT: "answer.no_export",
}


def answer(facts: ClientFacts, job: JobFacts, language: Language, *, client: object = None) -> str:
    """Return the sentence; `client` replaces the client id in it, for a text about many clients."""
    client = facts.client if client is None else client
    if chat(facts, job) is Chat.UNKNOWN:
        return _about_unknown(facts, job, language, client)
    state, since = "off" if facts.is_off else "on", _since(facts)
    key = f"answer.{state}_since" if since else f"answer.{state}"
    head = language.say(key, client=client, day=language.day(since) if since else "")
    outlook = _outlook(facts, job, language)
    return language.say("answer", head=head, reason=_reason(facts, language), outlook=outlook)


def _since(facts: ClientFacts) -> datetime | None:
    """Return the time of the run that turned the chat to its present state; None if it is not known."""
    kind, change = cause(facts)
    return change.record.began if change and kind in (Cause.JOB, Cause.UNDO) else None


def _reason(facts: ClientFacts, language: Language) -> str:
    if facts.listed is None:
        return ""
    key = {
        (True, True): "answer.off_as_listed",
        (True, False): "answer.off_though_not_listed",
        (False, True): "answer.on_though_listed",
        (False, False): "answer.on_as_not_listed",
    }[facts.is_off, facts.listed]
    return language.say(key)


def _outlook(facts: ClientFacts, job: JobFacts, language: Language) -> str:
    if facts.listed is False and not facts.is_off:
        if facts.rejected:
            row = facts.rejected[0]
            return language.say("answer.rejected", row=row.row, value=row.value)
        return language.say("answer.other_cause")
    following = next_run(facts, job)
    if following in _OUTLOOKS_OF_A_CHANGE:
        direction = "off" if facts.pending is Action.TURN_OFF else "on"
        export = job.export if job.export and job.export.unused is None else None
        if following is Next.CHANGE and export:
            return language.say(f"answer.change_by_export.{direction}", time=language.moment(export.time))
        return language.say(f"{_OUTLOOKS_OF_A_CHANGE[following]}.{direction}")
    modtime = (job.state.modtime if job.state else None) or DISABLED_FOREVER
    return language.say(_OUTLOOKS[following], until=language.until(modtime))


def _about_unknown(facts: ClientFacts, job: JobFacts, language: Language, client: object) -> str:
    listed = {True: "listed", False: "not_listed", None: "may_be_listed"}[facts.listed]
    if job.dict_error or facts.home in job.shard_errors:
        why = language.say("answer.unknown.shard_away")
    elif facts.home is None:
        why = language.say("answer.unknown.no_shard")
    else:
        why = language.say("answer.unknown.shard_missing", shard=facts.home)
    return language.say("answer.unknown", listed=language.say(f"answer.unknown.{listed}", client=client), why=why)
