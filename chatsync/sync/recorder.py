"""Writing the record of one apply while it runs."""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import msgspec
from pyroaring import BitMap64

from chatsync.config.settings import Settings
from chatsync.core import Action, Plan, ShardResult, Tally, counted, format_time
from chatsync.errors import ChatsyncError, ExitCode, OutputError, RecordError, UnfinishedError
from chatsync.sync.record import ActionRecord, Outcome, Record, ShardRecord, run_id
from chatsync.sync.records import Records
from chatsync.sync.step_log import command_line, current_user

logger = logging.getLogger(__name__)


class Recorder:
    """Writes the record of one run at its start and at its end; without `records.dir` it does nothing."""

    def __init__(self, settings: Settings, plan: Plan, *, started: datetime) -> None:
        """Prepare the record with time, user, host and command of the run; nothing is written yet.

        `started` is the time of the dict database: one clock for all machines.
        """
        self._records = Records(settings.records)
        self._started, self._began = started, time.monotonic()
        self._record = Record(
            id=run_id(started, plan.trace_id),
            trace_id=plan.trace_id,
            undo_of=plan.undo_of or None,
            outcome=Outcome.STARTED,
            error=None,
            exit_code=None,
            started=format_time(started),
            ended=None,
            user=current_user(),
            host=socket.gethostname(),
            pid=os.getpid(),
            command=command_line(sys.argv),
            shards={},
            plan=plan,
        )

    @contextmanager
    def recording(self, results: Sequence[ShardResult]) -> Iterator[None]:
        """Write the record before and after the block, which fills `results` and may raise UnfinishedError.

        If the record can't be written at the end, that is an error, or is added to the error of the run.
        """
        if not self._records.kept:
            yield
            return
        if self._record.plan.changes:
            self._start()
        try:
            yield
        except UnfinishedError as error:
            try:
                self._end(results, error)
            except OutputError as problem:
                raise UnfinishedError(f"{error}; and {problem}", reason=error.reason) from error
            raise
        try:
            self._end(results, None)
        except OutputError as problem:
            made = f"{counted(self._record.plan.changes, 'change')} made"
            done = f"{made}, but the run's record was not written: {problem}"
            unknown = "history, explain and apply --undo will not know the run; the mod-time was not moved"
            raise OutputError(f"{done}; {unknown}; check records.dir, the next run does the rest") from problem

    def _start(self) -> None:
        """Write the record before the first batch, so that there is one even if the run is killed.

        If that fails, the run is refused: `apply --undo` could not undo it.
        """
        try:
            self._records.write(self._record)
        except OutputError as error:
            way_out = "nothing was written to any shard; make records.dir writable for this user"
            raise OutputError(f"the record of this run can't be written: {error.what}", way_out=way_out) from None

    def _end(self, results: Sequence[ShardResult], error: UnfinishedError | None) -> None:
        """Write what was done and how the run ended; remove the record if the run changed nothing.

        It is kept if a server refused clients that the last record does not name.
        """
        now = self._started + timedelta(seconds=time.monotonic() - self._began)
        record = msgspec.structs.replace(
            self._record,
            outcome=_outcome(error),
            error=str(error) if error else None,
            exit_code=int(error.exit_code) if error else ExitCode.OK,
            ended=format_time(now),
            shards={result.shard: _shard_record(result) for result in results},
        )
        if any(record.touched(action) for action in Action) or self._is_news(_refused(record)):
            self._records.write(record)
            logger.info("record %s written", self._records.path(record.id), extra={"run": record.id})
        else:
            self._records.remove(record.id)
        try:
            # By the clock that is behind, so that a clock that has jumped ahead does not remove all records.
            self._records.prune(now=min(now, datetime.now(UTC)))
        except ChatsyncError as problem:
            logger.warning("old records were not removed: %s", problem)

    def _is_news(self, refused: BitMap64) -> bool:
        """Tell whether the last recorded run on these databases does not name all these refused clients."""
        plan = self._record.plan
        with suppress(RecordError):  # if the records can't be read, this one is kept
            for record in self._records.newest() if refused else ():
                same = (record.plan.target, record.plan.feature) == (plan.target, plan.feature)
                if same and record.id != self._record.id:
                    return bool(refused - _refused(record))
        return bool(refused)


def _refused(record: Record) -> BitMap64:
    return BitMap64().union(*(record.refused(action) for action in Action))


def _outcome(error: UnfinishedError | None) -> Outcome:
    if error is None:
        return Outcome.DONE
    return Outcome.STOPPED if error.reason else Outcome.FAILED


def _shard_record(result: ShardResult) -> ShardRecord:
    return ShardRecord(
        turn_off=_action_record(result.tallies[Action.TURN_OFF]),
        turn_on=_action_record(result.tallies[Action.TURN_ON]),
        error=str(result.error) if result.error else None,
    )


def _action_record(tally: Tally) -> ActionRecord:
    return ActionRecord(
        planned=len(tally.planned),
        changed=tally.changed.as_set(),
        already=len(tally.already),
        failed=tally.failed,
        in_doubt=tally.in_doubt.as_set(),
        refused=tally.refused,
    )
