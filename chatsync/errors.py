"""Every way in which a command can end, and its exit code."""

import enum
import signal


class ExitCode(enum.IntEnum):
    """The exit codes of the process. Scripts rely on the numbers: they never change meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    OUT_OF_DATE = 4
    DISABLED = 5
    BUSY = 6
    DIFFERENCE = 10


class CheckStatus(enum.IntEnum):
    """The result of `check`, also its exit code (Monitoring Plugins guidelines, "Return Codes")."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class ChatsyncError(Exception):
    """An expected failure. As text it is one line: `where: what; gave_up; way_out`, without the empty parts.

    `where` is the file, cluster or database; `what` says what failed and why; `gave_up` says for how long
    it was retried; `way_out` says what to do.
    """

    exit_code: int = ExitCode.FAILED

    def __init__(self, what: str, *, where: str = "", gave_up: str = "", way_out: str = "") -> None:
        """Keep the parts separately, so that callers can replace the place or the advice."""
        super().__init__(what)
        self.what = what
        self.where = where
        self.gave_up = gave_up
        self.way_out = way_out

    def __str__(self) -> str:
        """Format all parts as one line."""
        first = f"{self.where}: {self.what}" if self.where else self.what
        return "; ".join(part for part in (first, self.gave_up, self.way_out) if part)


class SourceError(ChatsyncError):
    """The exclusion list must be read whole, or not at all."""


class SourceAwayError(SourceError):
    """The place where the list is kept does not answer. This says nothing about the list itself."""


class ChangedError(SourceError):
    """What is compared must be one version: it is read again when it was written meanwhile."""


class DatabaseError(ChatsyncError):
    """Every database must answer: a shard that does not answer is not a shard where no client is off."""

    database: str = ""  # the name of the database that failed: "dict" or "shard 2"
    may_pass: bool = False  # whether a retry may help (for errors that chatsync raises, not the server)
    is_about_rows: bool = False  # whether the server refused a row for its content, so that other rows may be written


class PropertyError(ChatsyncError):
    """The mod-time property must hold a time; anything else is not "never synced"."""


class IncompleteError(ChatsyncError):
    """A report with a missing part shows the other parts, names the missing one, and exits with an error."""


class OutputError(ChatsyncError):
    """Everything that a command writes (plan, record, output) must be written completely, or the command fails."""


class RecordError(ChatsyncError):
    """A run record is used only if it is complete and exactly as the run wrote it."""

    is_denied: bool = False  # whether another user, such as that of the job, could read it


class PushError(ChatsyncError):
    """A check fails if its result could not be sent to monitoring."""


class DeadlineError(ChatsyncError):
    """A command must end within `[run] deadline`, including retries and waits."""


class LockLostError(ChatsyncError):
    """Nothing is written without the lock that prevents a second apply."""


class UnfinishedError(ChatsyncError):
    """An apply with missing changes has failed, although the other shards were written.

    `reason` is the error that stopped all shards, and gives the exit code; None if they were not stopped.
    """

    def __init__(self, what: str, *, reason: ChatsyncError | None) -> None:
        """Keep the reason and use its exit code."""
        super().__init__(what)
        self.reason = reason
        if reason is not None:
            self.exit_code = reason.exit_code


class ConfigError(ChatsyncError):
    """The configuration must be complete, hold known keys only, and fit the databases."""

    exit_code = ExitCode.USAGE


class UnknownRunError(ChatsyncError):
    """The name of a recorded run must fit exactly one run."""

    exit_code = ExitCode.USAGE


class RefusedError(ChatsyncError):
    """A plan over a limit is refused as a whole, before the first write."""

    exit_code = ExitCode.REFUSED


class OutOfDateError(ChatsyncError):
    """A plan is applied only while it is still true, and exactly as `diff` wrote it."""

    exit_code = ExitCode.OUT_OF_DATE

    def __init__(self, reason: str, *, way_out: str = "run `chatsync diff` again") -> None:
        """Set why the plan is out of date, and the way out, which is nearly always the same."""
        super().__init__(f"the plan is out of date: {reason}", way_out=way_out)


class UntrustedPlanError(ChatsyncError):
    """A plan is taken only from a file that only its user or root may have written."""

    exit_code = ExitCode.OUT_OF_DATE


class DisabledError(ChatsyncError):
    """A mod-time in the future switches the job off."""

    exit_code = ExitCode.DISABLED


class BusyError(ChatsyncError):
    """Only one apply at a time for a feature."""

    exit_code = ExitCode.BUSY


class StoppedError(ChatsyncError):
    """A signal ends a command after the current batch, with exit code 128 + the signal's number."""

    def __init__(self, signum: int) -> None:
        """Set the message and the exit code from the signal's number."""
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum
