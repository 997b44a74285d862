"""The sentence at the top of the page and the notes below it: the state of the job, without hosts and names."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from chatsync.core import ModTimeState, limit_objections, total, waiting_since
from chatsync.diagnostics.status import Status
from chatsync.errors import ExitCode
from chatsync.language import Language
from chatsync.sync.step_log import standing_failures, switching_step


class Tone(StrEnum):
    """What a sentence means for its reader."""

    GOOD = "good"
    WAITING = "waiting"
    BAD = "bad"
    OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One sentence, and its tone."""

    tone: Tone
    text: str


def headline(status: Status, language: Language) -> Headline:
    """Return the sentence about list and clients: the first reason why they differ, or that they agree."""
    found = _not_read(status, language) or _apart(status, language)
    if found is not None:
        return found
    since = status.state and status.state.last_change
    time = since or (status.version and status.version.modified)
    return Headline(tone=Tone.GOOD, text=language.say("headline.in_step", time=language.moment(time) if time else ""))


def _not_read(status: Status, language: Language) -> Headline | None:
    """Return what could not be read, or that the job is disabled; None if everything was read."""
    if status.state is None:
        unread = "headline.no_modtime" if "mod-time" in status.errors else "headline.no_dict"
        return Headline(tone=Tone.BAD, text=language.say(unread))
    if status.meaning is ModTimeState.DISABLED:
        return Headline(tone=Tone.OFF, text=_switched_off(status, language))
    if status.listed is None:
        return Headline(tone=Tone.BAD, text=language.say("headline.no_list"))
    if status.plan is None:
        return Headline(tone=Tone.BAD, text=language.say("headline.not_compared"))
    return None


def _apart(status: Status, language: Language) -> Headline | None:
    """Return why the databases do not agree with the list; None if they do."""
    waits = status.meaning is ModTimeState.LIST_IS_NEWER
    changes = status.plan.changes if status.plan else 0
    if status.meaning is ModTimeState.LIST_IS_OLDER and status.version is not None:
        when = language.moment(status.version.modified)
        return Headline(tone=Tone.BAD, text=language.say("headline.older", time=when))
    if (waits or changes) and (reasons := list(_refusals(status, language))):
        return Headline(tone=Tone.BAD, text=_refused(status, reasons, language))
    if waits:
        return Headline(tone=Tone.WAITING, text=_waiting(status, language))
    return Headline(tone=Tone.WAITING, text=language.say("headline.drift", count=changes)) if changes else None


def _switched_off(status: Status, language: Language) -> str:
    modtime = status.state.modtime if status.state else None
    if modtime is None:
        return language.say("headline.off", until=language.say("until_further_notice"))
    until, step = language.until(modtime), switching_step(status.steps, modtime)
    if step is None:
        return language.say("headline.off", until=until)
    day, reason = language.day(step.time), step.reason or language.say("headline.no_reason")
    return language.say("headline.off_by", until=until, user=step.user, day=day, reason=reason)


def _refusals(status: Status, language: Language) -> Iterator[str]:
    """Yield why the next run would be refused, in words for the owners of the list; no client is named."""
    plan = status.plan
    if plan is None:
        return
    counts = {
        "turn_on": total(plan.turn_on),
        "turn_off": total(plan.turn_off),
        "rejected": plan.exclusions.rejected_count,
        "unknown": len(plan.unknown),
        "must_contain": len(plan.exclusions.missing),
        "empty": plan.off_now or 0,
        "no_ids": plan.exclusions.rows or 0,
    }
    broken = [objection.limit for objection in limit_objections(plan, status.settings.limits)]
    for limit in dict.fromkeys(name.removesuffix("_percent").removesuffix("_max") for name in broken):
        yield language.say(f"refused.{limit}", count=counts[limit])


def _refused(status: Status, reasons: list[str], language: Language) -> str:
    because = language.say("and").join(reasons)
    refusals = [step for step in standing_failures(status.steps) if step.last.exit_code == ExitCode.REFUSED]
    if not refusals:
        return language.say("headline.would_be_refused", because=because)
    return language.say("headline.refused", time=language.moment(refusals[0].since), because=because)


def _waiting(status: Status, language: Language) -> str:
    state, version, plan = status.state, status.version, status.plan
    if state is None or version is None or plan is None:
        return ""
    failures = standing_failures(status.steps)
    if failures:
        because = language.say("waiting.failing", since=language.moment(failures[0].since))
    elif state.is_expired_switch:
        because = language.say("waiting.expired_switch")
    elif plan.modtime is None:
        because = language.say("waiting.never_synced")
    else:
        because = language.say("waiting.next_run")
    since = language.moment(waiting_since(state, list_time=version.modified))
    changes = language.say("changes", count=plan.changes)
    return language.say("headline.waiting", time=since, because=because, changes=changes)


def notes(status: Status, language: Language) -> Iterator[str]:
    """Yield what could not be read, and which steps fail now."""
    shards = [part.removeprefix("shard ") for part in status.errors if part.startswith("shard ")]
    if shards:
        yield language.say("note.shards", shards=", ".join(shards), count=len(shards))
    for part in status.errors:
        if not part.startswith("shard "):
            yield language.say(f"note.{part.replace('-', '_')}")
    for failure in standing_failures(status.steps):
        if failure.last.exit_code == ExitCode.REFUSED and any(_refusals(status, language)):
            continue  # the headline says it
        what = outcome(failure.last.step, failure.last.exit_code, language)
        since = language.moment(failure.since)
        yield language.say("note.failing", count=failure.count, since=since, what=what)


def outcome(step: str, exit_code: int, language: Language) -> str:
    """Return the text about the end of a step that did not succeed."""
    if exit_code == ExitCode.FAILED:
        return language.say(f"run.failed.{step.replace('-', '_')}")
    names = {
        ExitCode.USAGE: "configuration",
        ExitCode.REFUSED: "refused",
        ExitCode.OUT_OF_DATE: "out_of_date",
        ExitCode.DISABLED: "disabled",
        ExitCode.BUSY: "busy",
    }
    return language.say(f"run.{next((name for code, name in names.items() if code == exit_code), 'stopped')}")
