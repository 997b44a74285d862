"""Why a client has the chat or not: the facts, and the conclusions from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from chatsync.core import Action, DictState, ListVersion, ModTimeState, PlanExport, Rejected, modtime_state
from chatsync.diagnostics.history import ClientChange
from chatsync.sync.record import Record


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """The facts that are the same for all clients.

    The errors say why the list, the mod-time, the records or a shard can't be read. `refusals` say why
    the next plan would be refused.
    """

    state: DictState | None
    version: ListVersion | None
    list_error: str | None
    dict_error: str | None
    modtime_error: str | None
    records_error: str | None
    shard_errors: Mapping[int, str]
    shards: frozenset[int]
    records_kept: bool
    oldest_record: datetime | None
    refusals: tuple[str, ...] = ()
    export: PlanExport | None = None  # what `diff` compares with, where an export is configured
    export_error: str | None = None

    def refused(self, reasons: tuple[str, ...]) -> Self:
        """Return these facts with the reasons why the next plan would be refused."""
        return replace(self, refusals=reasons)

    @property
    def errors(self) -> str:
        """The errors of everything that could not be read; empty if there are none."""
        alone = (self.list_error, self.dict_error, self.modtime_error, self.records_error, self.export_error)
        return " | ".join(filter(None, dict.fromkeys((*alone, *self.shard_errors.values()))))

    @property
    def meaning(self) -> ModTimeState | None:
        """What the mod-time means; a list that can't be read counts as newer."""
        if self.state is None:
            return None
        list_time = self.version.modified if self.version else datetime.max.replace(tzinfo=UTC)
        return modtime_state(self.state, list_time=list_time)


@dataclass(frozen=True, kw_only=True)
class ClientFacts:
    """The facts about one client; `rows` is its state (True: on) on each shard with a row of it.

    `rejected` are rows of the list that contain its number, but also other characters, so that they are no client id.
    """

    client: int
    listed: bool | None
    listed_since: Record | None
    home: int | None
    rows: Mapping[int, bool]
    client_changes: Sequence[ClientChange]
    rejected: Sequence[Rejected] = ()
    refused_in: Record | None = None  # the run in which the server refused its row, unless a later one changed it

    @property
    def is_off(self) -> bool:
        """Whether the chat is off, by the row on the client's home shard. Rows on other shards are ignored."""
        return self.home is not None and self.rows.get(self.home) is False

    @property
    def refusal(self) -> str:
        """Which server refused the client's row in which run, and why; empty where none did."""
        run = self.refused_in
        if run is None or self.home is None:
            return ""
        why = run.shards[self.home].error if self.home in run.shards else run.error
        return f"shard {self.home} refused in run {run.id}: {why}"

    @property
    def pending(self) -> Action | None:
        """The change that the list asks for and that has not been made yet."""
        if self.listed is None or self.listed == self.is_off:
            return None
        return Action.TURN_OFF if self.listed else Action.TURN_ON


class Chat(StrEnum):
    """Whether a client has the chat."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"  # it lives on no shard, or on one that is not configured or can't be read


def chat(facts: ClientFacts, job: JobFacts) -> Chat:
    """Return whether the client has the chat, by the row on its home shard."""
    if facts.home not in job.shards - job.shard_errors.keys():
        return Chat.UNKNOWN
    return Chat.OFF if facts.is_off else Chat.ON


class Cause(StrEnum):
    """What caused the present state of the chat."""

    JOB = "job"
    UNDO = "undo"
    PERHAPS_JOB = "perhaps job"  # a run that was killed had the client in its plan
    NO_ROW = "no row"  # without one the chat is on
    NOT_THE_JOB = "not the job"
    NO_RECORD = "no record"  # something else, or a run whose record is gone


def cause(facts: ClientFacts) -> tuple[Cause, ClientChange | None]:
    """Return the cause of the present state, and the run that made it or whose change was overwritten later."""
    action = Action.TURN_OFF if facts.is_off else Action.TURN_ON
    latest = facts.client_changes[0] if facts.client_changes else None
    if latest and not latest.certain and latest.action is action:
        return Cause.PERHAPS_JOB, latest
    sure = next((change for change in facts.client_changes if change.certain), None)
    if sure and sure.action is action:
        return (Cause.UNDO if sure.record.undo_of else Cause.JOB), sure
    if sure:
        return Cause.NOT_THE_JOB, sure
    home_row = facts.rows.get(facts.home) if facts.home is not None else None
    if not facts.is_off and home_row is None:
        return Cause.NO_ROW, None
    return Cause.NO_RECORD, None


class Next(StrEnum):
    """What the next run will do for a client."""

    NOTHING = "nothing to do"
    CHANGE = "change"
    FULL_RUN = "full run only"  # the mod-time says synced, so a run with --if-modified does not look
    LIST_OLDER = "list older"  # than the one that was synced last
    DISABLED = "disabled"
    REFUSED = "refused"
    ROW_REFUSED = "refused by the server"  # in the last run that tried
    NO_SHARD = "no shard"
    SHARD_MISSING = "shard missing"
    SHARD_AWAY = "shard away"
    NO_LIST = "no list"
    NO_EXPORT = "no export"
    NO_MODTIME = "no mod-time"


def next_run(facts: ClientFacts, job: JobFacts) -> Next:
    """Return what the next run does for the client, or the first thing that prevents it."""
    if job.meaning in (None, ModTimeState.DISABLED):
        return Next.DISABLED if job.meaning else Next.NO_MODTIME
    if facts.listed is None:
        return Next.NO_LIST
    if facts.home in job.shard_errors or (facts.pending and job.shard_errors):
        return Next.SHARD_AWAY
    if facts.pending is None:
        return Next.NOTHING
    return _pending_run(facts, job)


def _pending_run(facts: ClientFacts, job: JobFacts) -> Next:
    if facts.home is None:
        return Next.NO_SHARD
    if facts.home not in job.shards:
        return Next.SHARD_MISSING
    if job.meaning is ModTimeState.LIST_IS_OLDER:
        return Next.LIST_OLDER
    if job.refusals:
        return Next.REFUSED
    if job.meaning is ModTimeState.SYNCED:
        return Next.FULL_RUN
    change = Next.ROW_REFUSED if facts.refused_in else Next.CHANGE
    return Next.NO_EXPORT if job.export_error else change


def may_be_refused(facts: ClientFacts, job: JobFacts) -> bool:
    """Return whether the answer for this client depends on the limits, and so on a complete diff."""
    return next_run(facts, job) in (Next.CHANGE, Next.FULL_RUN, Next.ROW_REFUSED)
