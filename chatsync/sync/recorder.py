"""Keeping the record of one apply while it runs."""

import getpass
import logging
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from chatsync.config.settings import Settings
from chatsync.core.plan import Plan
from chatsync.core.results import Action, ShardResult, Tally
from chatsync.core.times import format_time
from chatsync.errors import ChatsyncError, ExitCode, OutputError, UnfinishedError
from chatsync.redaction import without_secrets
from chatsync.sync.records import ActionRecord, Outcome, Record, Records, ShardRecord, run_id

logger = logging.getLogger(__name__)


class Recorder:
    """Writes one run's record at its start and at its end; without `records.dir` it does nothing."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        """Note who runs what where, and since when. Nothing is written yet."""
        self._records = Records(settings.records)
        started = datetime.now(UTC)
        self._record = Record(
            id=run_id(started, plan.trace_id),
            trace_id=plan.trace_id,
            undo_of=plan.undo_of or None,
            outcome=Outcome.STARTED,
            error=None,
            exit_code=None,
            started=format_time(started),
            ended=None,
            user=_user(),
            host=socket.gethostname(),
            pid=os.getpid(),
            command=command_line(sys.argv),
            shards={},
            plan=plan,
        )

    def start(self) -> None:
        """Write the record before the first batch, so that a run that is killed leaves one too.

        If that fails the run goes on: at its end there is a second chance, and an error.
        """
        if not self._records.kept or not self._record.plan.changes:
            return
        try:
            self._records.write(self._record)
        except OutputError as error:
            logger.warning("%s; the run goes on", error)

    def end(self, results: Sequence[ShardResult], error: UnfinishedError | None) -> ChatsyncError | None:
        """Write down what was done and how the run ended; a run that changed nothing leaves no record.

        Returns the error that the command is to end with once it has shown its results: `error`,
        or an OutputError when the record can't be written, or both in one.
        """
        if not self._records.kept:
            return error
        record = msgspec.structs.replace(
            self._record,
            outcome=_outcome(error),
            error=str(error) if error else None,
            exit_code=int(error.exit_code) if error else ExitCode.OK,
            ended=format_time(datetime.now(UTC)),
            shards={result.shard: _shard_record(result) for result in results},
        )
        try:
            if any(record.touched(action) for action in Action):
                self._records.write(record)
                logger.info("record %s written", self._records.path(record.id), extra={"run": record.id})
            else:
                self._records.remove(record.id)
        except OutputError as problem:
            if error is None:
                done = f"all {record.plan.changes} changes are in place, but this run's record is not: {problem}"
                unknown = "history, explain and apply --undo will not know the run; the mod-time was not moved"
                return OutputError(f"{done}; {unknown}; see to records.dir, the next run goes on from here")
            error.args = (f"{error}; and {problem}",)
        else:
            self._prune()
        return error

    def _prune(self) -> None:
        try:
            self._records.prune(now=datetime.now(UTC))
        except ChatsyncError as error:
            logger.warning("old records stay: %s", error)


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
        changed=tally.changed,
        already=len(tally.already),
        failed=tally.failed,
        in_doubt=tally.in_doubt,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in many containers
        return str(os.getuid())


def command_line(arguments: Sequence[str]) -> str:
    """Write a command line as it was typed, without the program's path and without passwords."""
    return without_secrets(shlex.join(["chatsync", *arguments[1:]]))
